# SPDX-License-Identifier: Apache-2.0
"""What the demonstration and the scenarios share: a writing client, the history checker, and the cluster seen through its CLI."""
