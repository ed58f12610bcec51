"""What a detector found, and how two of them agree: decoded objects, the unit in which everything here is judged.

========================  ===========================================================================
`found.py`                what was found in one image: boxes, scores, labels
`agreement.py`            how far what one network finds is what another one finds
========================  ===========================================================================
"""
