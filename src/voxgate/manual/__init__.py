"""What one looks things up in, made from the code: the protocol for machines, the command line, the limits.

``python -m voxgate.manual docs`` writes the files; tests compare what is committed with what they would be.
"""
