"""What heavy decides and says about its answers, as pure functions: no I/O, no clock, no model.

``answers`` reads the result that an answer states, ``clusters`` groups equal results and counts them, ``stopping`` says
when the rest cannot change the majority any more. ``providers/heavy`` acts on it; pages and the log show it.
"""
