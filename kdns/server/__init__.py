"""The processes: a supervisor that binds and forks, one control that reads the data, N workers that answer.

This is where sockets, clocks, files and signals are; every decision that can be made without them is a pure
module here (files, sizing, assembly) or lives in a room below.
"""
