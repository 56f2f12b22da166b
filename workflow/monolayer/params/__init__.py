"""The typed sections of params.yaml: what may stand there, and clear errors for what may not.

No default values live here: every number that can change a result is written in params.yaml. No section is imported
here: a rule depends on the code of its own alone.
"""
