"""Breaks the processes of a local topology and checks that no reaction is lost or counted twice.

A seed decides the faults, so a run can be repeated.
"""
