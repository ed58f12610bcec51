"""Float and quantized side by side: what is lost, where, and which preset to take.

========================  ===========================================================================
`measured.py`             the records that a comparison ends in
`checklist.py`            the accuracy checklist of Hailo's support (`check_facts.py`: what files tell for it)
========================  ===========================================================================
"""
