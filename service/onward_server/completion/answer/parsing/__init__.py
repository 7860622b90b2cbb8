"""Building blocks of output parsers: a stream of model output, markers, JSON values and the state of a parse."""
