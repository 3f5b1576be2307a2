# SPDX-License-Identifier: Apache-2.0
"""The one error of the lab: its text says what failed, on what, and what to do about it."""


class LabError(Exception):
    pass
