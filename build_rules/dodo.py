"""Table of contents: the steps of the chain, one `task_*` function each.

A model repository's `dodo.py` is one line, `from build_rules.dodo import *`; `models/` and `build/` lie beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from build_rules import workspace as ws
from build_rules.engine.doit_config import DOIT_CONFIG
from build_rules.engine.places import IMAGES
from build_rules.rules import ALLS, CALIBRATION, HAR, HEF, META, PARSE, SPLIT, STATISTICS

__all__ = [
    "DOIT_CONFIG",
    "task_alls",
    "task_calibration",
    "task_har",
    "task_hef",
    "task_meta",
    "task_mixed",
    "task_parse",
    "task_split",
    "task_statistics",
]

Tasks = Iterator[dict[str, Any]]


def task_split() -> Tasks:
    """Cut the graph at the per-scale endpoints and prove the cut."""
    for model in ws.find_workspace_models():
        yield SPLIT.task(
            model.name,
            inputs={"onnx": model.onnx},
            outputs={
                "endpoints": ws.folder(model) / "endpoints.json",
                "split_json": ws.folder(model) / "split.json",
                "split_onnx": ws.folder(model) / "split.onnx",
            },
            owner=model.name,
            settings={
                "choice": model.split,
                "pixels": model.input,
                "metadata": model.metadata and model.metadata.cut,
            },
            # They are checked, and nothing is made of them here; without any, those of the export are.
            paths={"labels_file": ws.text_of(model.labels)},
            names={"labels_file": model.labels is not None},
            tools=ws.versions_of("onnx"),
            # One sample helps to prove the cut; which one it was shows nowhere, nor does what the model is called.
            passed={
                "network_name": model.network_name,
                "calibration": ws.text_of(model.calibration),
                "named_in": ws.text_of(model.named_in),
            },
            fault=model.fault("split"),
        )


def task_calibration() -> Tasks:
    """Make or check the calibration snapshot."""
    for model in ws.compiled_models():
        pool = ws.calibration_files(model)
        yield CALIBRATION.task(
            model.name,
            inputs={"split_json": ws.folder(model) / "split.json", "images": pool.files},
            outputs={
                "calibrated": ws.folder(model) / "calibration.json",
                "chosen": ws.folder(model) / "calibration-images.json",
                "sheet": ws.folder(model) / "calibration.png",
                "snapshot": ws.folder(model) / "calibration.safetensors",
            },
            owner=model.name,
            settings={
                "count": model.settings.calibration_count,
                "skip_broken": model.settings.skip_broken_images,
                "passed_over": pool.passed_over,
            },
            paths={"source": ws.text_of(model.calibration), "named_in": ws.text_of(model.named_in)},
            # `calibration-images.json` calls them so, and `calibration.json` the snapshot that was given.
            names={"images": pool.names},
            tools=ws.versions_of("pillow", *pool.further_libraries),
            # What was found out before, and where the next run finds it: neither decides a byte.
            passed={"database": IMAGES, "final": str(ws.folder(model) / "calibration.safetensors")},
            fault=pool.fault,
        )


def task_parse() -> Tasks:
    """Let the compiler read the cut graph and name its layers."""
    for model in ws.compiled_models():
        for compiling, hw_arch in ws.parsings(model):
            place = ws.folder(model) / f"{hw_arch}{compiling.compiler.suffix}"
            yield PARSE.task(
                f"{model.name}:{place.name}",
                inputs={
                    "split_onnx": ws.folder(model) / "split.onnx",
                    "split_json": ws.folder(model) / "split.json",
                },
                outputs={
                    **ws.logs(compiling, place / "parsed.log"),
                    "parsed_har": place / "parsed.har",
                },
                owner=model.name,
                settings={"network_name": model.network_name, "hw_arch": hw_arch},
                tools=compiling.tools["parse"],
                passed={"compiler": compiling.compiler},
                code=compiling.compiler.code("parse"),
                needs=compiling.compiler.needs("parse"),
                keeps=compiling.compiler.keeps_logs,
                own_process=compiling.compiler.starts_programs,
                fault=compiling.fault_of("parse"),
            )


def task_statistics() -> Tasks:
    """Observe the network on the calibration samples, once for all presets, where a compiler collects that."""
    for model in ws.compiled_models():
        compiling = ws.compiling(model)
        if not compiling.compiler.collects_statistics:
            continue
        for hw_arch in dict.fromkeys(target.hw_arch for target in model.targets):
            yield STATISTICS.task(
                f"{model.name}:{ws.arch_name(model, hw_arch)}",
                inputs={
                    "parsed_har": ws.arch_folder(model, hw_arch) / "parsed.har",
                    "split_json": ws.folder(model) / "split.json",
                    "calibrated": ws.folder(model) / "calibration.json",
                    "snapshot": ws.folder(model) / "calibration.safetensors",
                },
                outputs={"statistics": ws.arch_folder(model, hw_arch) / "statistics.npz"},
                owner=model.name,
                settings={},
                tools=compiling.tools["statistics"],
                # Only errors say which image a sample was.
                passed={
                    "compiler": compiling.compiler,
                    "chosen": str(ws.folder(model) / "calibration-images.json"),
                },
                code=compiling.compiler.code("statistics"),
                needs=compiling.compiler.needs("statistics"),
                own_process=compiling.compiler.starts_programs,
                fault=compiling.fault_of("statistics"),
            )


def task_mixed() -> Tasks:
    """Find the layers that 16 bits are worth, where a model asks for it."""
    if asking := ws.searching_models():
        from build_rules.mixed_tasks import searches

        yield from searches(asking)


def task_alls() -> Tasks:
    """Write the model scripts that a preset asks for, with the user's own lines."""
    for model, target in ws.targets(ws.compiled_models()):
        own = model.alls
        yield ALLS.task(
            f"{model.name}:{ws.target_name(model, target)}",
            inputs={
                "split_json": ws.folder(model) / "split.json",
                "calibrated": ws.folder(model) / "calibration.json",
                "parsed_har": ws.arch_folder(model, target.hw_arch) / "parsed.har",
                "own_file": () if own is None or own.file is None else (own.file,),
                **ws.found_set(model, target),
            },
            outputs={
                "compile_script": ws.target_folder(model, target) / "compile.alls",
                "feed": ws.target_folder(model, target) / "feed.json",
                "script": ws.target_folder(model, target) / "model.alls",
            },
            owner=model.name,
            settings={
                "preset": ws.preset_of(target),
                "hw_arch": target.hw_arch,
                "append": () if own is None else own.append,
            },
            # Only errors say where a line stands.
            passed={"declared_in": str(model.folder / "model.toml")},
            fault=model.fault("alls"),
        )
    if asking := ws.searching_models():
        from build_rules.mixed_tasks import scripts_to_search_with

        yield from scripts_to_search_with(asking, ALLS)


def task_har() -> Tasks:
    """Quantize as the model script says, on the calibration snapshot."""
    for model, target in ws.targets(ws.compiled_models()):
        compiling, place = ws.compiling(model), ws.target_folder(model, target)
        yield HAR.task(
            f"{model.name}:{ws.target_name(model, target)}",
            inputs={
                "parsed_har": ws.arch_folder(model, target.hw_arch) / "parsed.har",
                "script": ws.target_folder(model, target) / "model.alls",
                "snapshot": ws.folder(model) / "calibration.safetensors",
                # What the network is proven against; neither changes alone but with what is said of the pixels.
                "split_onnx": ws.folder(model) / "split.onnx",
                "feed": ws.target_folder(model, target) / "feed.json",
                "endpoints": (ws.folder(model) / "endpoints.json",) if compiling.compiler.judges_by_objects else (),
                "statistics": (ws.arch_folder(model, target.hw_arch) / "statistics.npz",)
                if compiling.compiler.collects_statistics
                else (),
            },
            outputs={
                **ws.logs(compiling, place / "har.log"),
                "report": place / "har.json",
                "har": place / "model.har",
            },
            owner=model.name,
            settings={},
            tools=compiling.tools["optimize"],
            # Only errors say which image a sample was, and which preset is too much.
            passed={
                "compiler": compiling.compiler,
                "chosen": str(ws.folder(model) / "calibration-images.json"),
                "preset": target.preset,
            },
            code=compiling.compiler.code("optimize"),
            needs=compiling.compiler.needs("optimize"),
            keeps=compiling.compiler.keeps_logs,
            own_process=compiling.compiler.starts_programs,
            fault=compiling.fault_of("optimize"),
        )


def task_hef() -> Tasks:
    """Compile the quantized network."""
    for model, target in ws.targets(ws.compiled_models()):
        compiling, place = ws.compiling(model), ws.target_folder(model, target)
        yield HEF.task(
            f"{model.name}:{ws.target_name(model, target)}",
            # The model script, which the HAR holds too, is what the compiled file is compared with.
            inputs={
                "har": place / "model.har",
                "compile_script": place / "compile.alls",
                "model_script": place / "model.alls",
            },
            outputs={
                **ws.logs(compiling, place / "hef.log"),
                "report": place / "hef.json",
                "hef": place / "model.hef",
            },
            owner=model.name,
            settings={"hw_arch": target.hw_arch},
            tools=compiling.tools["compile"],
            # What the last success found saves time, and is a discovered input where it decides anything.
            passed={
                "compiler": compiling.compiler,
                "allocation": place / "allocation.alls",
                "preset": target.preset,
            },
            code=compiling.compiler.code("compile"),
            needs=compiling.compiler.needs("compile"),
            keeps=compiling.compiler.keeps_logs,
            own_process=compiling.compiler.starts_programs,
            fault=compiling.fault_of("compile"),
        )


def task_meta() -> Tasks:
    """Append edgefirst.json and labels.txt, made from what the compiled file really holds."""
    for model, target in ws.targets(ws.find_workspace_models()):
        place = ws.target_folder(model, target)
        compiler = None if model.is_prebuilt else ws.compiling(model).compiler
        yield META.task(
            f"{model.name}:{ws.target_name(model, target)}",
            inputs={
                "hef": target.hef or place / "model.hef",
                "split_json": ws.folder(model) / "split.json",
                "calibrated": () if model.is_prebuilt else (ws.folder(model) / "calibration.json",),
                "reports": () if compiler is None else (place / "har.json", place / "hef.json"),
                "logs": (place / "har.log", place / "hef.log") if compiler and compiler.keeps_logs else (),
                "har": () if compiler is None else (place / "model.har",),
                "model_script": () if compiler is None else (place / "model.alls",),
                "onnx": model.onnx,
                "labels": () if model.labels is None else (model.labels,),
            },
            outputs={"document": place / "edgefirst.json", "executable": place / "model+meta.hef"},
            owner=model.name,
            settings={
                "hw_arch": target.hw_arch,
                "preset": ws.preset_of(target),
                "compiler": ws.compiler_version(model),
                "embed": model.settings.embed,
                "metadata": model.metadata and model.metadata.whole,
                "source_date_epoch": ws.source_date_epoch(),
            },
            passed={"maker": compiler},
            code=() if compiler is None else compiler.reading_code(),
            fault=model.fault("meta", target.name),
        )
