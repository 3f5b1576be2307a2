# SPDX-License-Identifier: Apache-2.0
"""A cluster of emulated appliance nodes on one machine. `from holdfast_lab.lab import Lab` is the way in."""
