"""Our own verbs beside doit's, entry points of group `doit.COMMAND` in `pyproject.toml`.

Those about files need no dodo.py (`command.py`: the command line, wrong input as one paragraph), those about steps have
what doit made of it (`task_command.py`).

===============  =========================================================================
*files*          `command.py`
`inspect.py`     what is in a file? (`describe.py`; `describe_onnx.py`, `describe_hef.py`, `describe_har_file.py`)
`left_beside.py` which records of the build lie near a HEF or HAR?
`stage_facts.py` what did the stages of the compiler report?
`mixed_facts.py` which layers were found to be worth 16 bits?
`layer_map.py`   `inspect --map`: how are its layers called, from the ONNX to the stream?
`render.py`      those facts, as text or JSON (`budget.py`: what the outputs weigh)
`extract.py`     `inspect --extract`: what a HEF carries, as files
`verify_hef.py`  is a HEF undamaged and true, and who loads it?
`strip.py`       the HEF as the compiler wrote it
`infer.py`       what does a HEF or HAR make of images? (`npz.py`: the file that holds it)
`load_images.py` images as a network takes them
`compare_layers.py`, `compare_mixed.py`  what does each layer cost? which of them are worth 16 bits?
`cache.py`       what is in a cache folder?
`doctor.py`      can what is asked for be compiled here? (`repository_facts.py`: what is
                 asked for; `doctor_report.py`: the answer as a text for others)
*steps*          `task_command.py`
`why.py`         why does a step run?
`status.py`      what is fresh?
`report.py`      what does all of it look like? (`report_facts.py`: what the page is told of each model;
                 `report_network.py`: what its network and the removed tail are made of; `report_comparisons.py`:
                  what was compared, what layers cost; `report_objects.py`: what is found in some images)
`compare.py`     is a preset good enough? (`compare_inputs.py`, `compare_images.py`: of what; `compare_hars.py`: HARs;
                 `compare_text.py`: the tables; `compare_uncut.py`: what the cut buys; `other_presets.py`: a preset
                 that is not built; `progress_line.py`: how far it is; `end_at_once.py`: Ctrl-C)
`plan.py`        what would a run do?
*doit's own*     with what they lack
`run.py`         builds
`clean.py`       removes outputs
`listing.py`     `list` and `info`
`dumpdb.py`      prints the records
`unknown.py`     what is said of a name that is none of the tasks
`help_option.py` `--help`, and options that there are not
===============  =========================================================================
"""
