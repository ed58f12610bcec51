"""Float and quantized side by side: what is lost, where, and which preset to take.

========================  ===========================================================================
`compare_model.py`        all of it (`comparison_inputs.py`: what it reads; `check_model.py`: what the checklist
                          is told)
`output_measures.py`      what quantizing does to one output, image by image
`uncut.py`                what the cut buys: beside a network that was quantized with its tail (`write_uncut.py`)
`choose_preset.py`        which preset to take, and why
`measured.py`             the records that a comparison ends in
`kept_comparison.py`      those as JSON, and kept
`checklist.py`            the accuracy checklist of Hailo's support (`check_facts.py`: what files tell for it)
========================  ===========================================================================
"""
