"""Mixed precision: which layers make the noise, and the smallest set of them that 16 bits are worth.

======================  ===========================================================================
`candidates.py`         which layers may work in 16 bits, in which mode, those that cost most first?
`advice.py`             what helps one layer, and the line of the model script that says so
`search.py`             the smallest set that helps: which sets are tried, and which one is taken?
`quantize_set.py`       one set, tried: really quantized, run, and compared with float by its objects
`find_set.py`           all of it: from a parsed network to the set, with its proof
`in_toml.py`            how do lines get into `model.toml`, and nothing else in it changes?
======================  ===========================================================================
"""
