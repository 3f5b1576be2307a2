# SPDX-License-Identifier: Apache-2.0
"""The fault campaign: random faults by seed on the lab's cluster, judged by invariants."""
