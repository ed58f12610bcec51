"""Drives Hailo's compiler inside the environment that it is installed in: one action, one process, one result.

It is copied, mounted or sent there and runs alone: the standard library, numpy, `hailo_sdk_client`; Python 3.8 to 3.12.
* `python dfc_worker.py REQUEST.json`: both sides see the files. `result.json` appears beside the request.
* `python -c STARTER NONCE`: this source, then a tar (`request.json`, the inputs) come through standard input; result,
  outputs and logs go back as a tar through standard output, behind a mark that holds the nonce.

Standard input stays open as long as somebody waits: when it ends, everything that was started here is killed. The
process that sees to that does not load the compiler, whose libraries may hold the interpreter for an hour, or crash.

Request: `nonce`, `action`, `settings`, `inputs` and `outputs` by name, `environment` to set, `gpus` ("", "all", "0,1").
Result: `nonce`, `environment` (dfc, python, numpy, digest), and `facts`, or `kind`, `type`, `message`, `traceback`.
"""

from __future__ import annotations

import faulthandler
import hashlib
import importlib
import json
import os
import platform
import re
import select
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import traceback
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

    Table = dict[str, Any]

GREETING = "\x1edfc-worker "
RESULT, DISTRIBUTION = "result.json", "hailo-dataflow-compiler"
TEXT_BYTES, FACTS_BYTES = 1 << 16, 1 << 20
RETURNED_BYTES, RETURNED_FILES, RETURNED_FILE_BYTES = 256 << 20, 1000, 64 << 20  # of the working folder
GONE, DISK = 75, 74  # exit codes: nobody waits any more; the disk has no place for the result itself
FULL = ("No space left on device", "Disk quota exceeded")


class WorkerError(Exception):
    """What this file itself has against a request, or against what the compiler made of it."""


def main() -> None:
    """Do what the command line says."""
    del sys.path[0]  # its own folder
    if sys.argv[0] == "-c":
        sys.exit(_serve_streams(sys.argv[1]))
    place = Path(sys.argv[1])
    request = json.loads(place.read_text(encoding="utf-8"))
    os.write(2, f"{GREETING}{request['nonce']}\n".encode())
    sys.exit(_supervise(request, place.parent))


def _supervise(request: Table, folder: Path) -> int:
    """Run the action in a process of its own; return the exit code, after everything of that is gone."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    ends = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in (signal.SIGCHLD, *ends):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(wake)
    parent, child = os.getpid(), os.fork()
    if child == 0:
        _work(request, folder, parent)
    status = None
    while status is None:
        ready, _, _ = select.select([0, woken], [], [])
        signals = os.read(woken, 64) if woken in ready else b""
        if any(number in signals for number in ends) or (0 in ready and not os.read(0, 1 << 16)):
            os.kill(child, signal.SIGKILL)  # which may not lead its group yet
            os.waitpid(child, 0)
            status = GONE << 8
        else:
            ended, code = os.waitpid(child, os.WNOHANG)
            status = code if ended else None
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    if os.WIFSIGNALED(status):
        words = f"the compiler's process was ended by signal {os.WTERMSIG(status)}"
        return _write_result(request, folder, {"kind": "died", "message": words})
    return os.WEXITSTATUS(status)


def _serve_streams(nonce: str) -> int:
    os.write(2, f"{GREETING}{nonce}\n".encode())
    folder = Path(tempfile.mkdtemp(prefix="dfc-"))
    try:
        try:
            code = _supervise(_receive(folder), folder)
        except OSError as error:
            told = _failure("disk" if _is_full(error) else "raised", error)
            code = _write_result({"nonce": nonce}, folder, told)
        if code != GONE:
            _send_back(nonce, folder)
        return code
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)


def _receive(folder: Path) -> Table:
    (folder / "work").mkdir()
    (folder / "out").mkdir()
    stream: Any = sys.stdin.buffer
    piecewise: Any = SimpleNamespace(read=stream.read1)  # its end never comes
    with tarfile.open(fileobj=piecewise, mode="r|", bufsize=1 << 20) as archive:
        for info in archive:
            content = archive.extractfile(info)
            if content is not None:
                with (folder / Path(info.name).name).open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
    return dict(json.loads((folder / "request.json").read_text(encoding="utf-8")))


def _send_back(nonce: str, folder: Path) -> None:
    with os.fdopen(os.dup(1), "wb") as channel:
        channel.write(f"\n{GREETING}{nonce}\n".encode())
        with tarfile.open(fileobj=channel, mode="w|") as archive:
            left, made = RETURNED_BYTES, [folder / RESULT, *sorted((folder / "out").iterdir())]
            for place in made + sorted((folder / "work").rglob("*"))[:RETURNED_FILES]:
                size = place.stat().st_size if place.is_file() and not place.is_symlink() else -1
                if size >= 0 and (place in made or size <= min(left, RETURNED_FILE_BYTES)):
                    left -= 0 if place in made else size
                    archive.add(str(place), str(place.relative_to(folder)), recursive=False)


def _work(request: Table, folder: Path, parent: int) -> NoReturn:
    code = 1
    try:
        os.setsid()
        _die_with(parent)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)  # what C++ prints would else come between what is sent back
        os.chdir(str(folder / "work"))
        _set_environment(request)
        faulthandler.enable()
        for names in (request["inputs"], request["outputs"]):
            names.update({name: str(folder / path) for name, path in names.items()})  # whole paths stay as they are
        code = _write_result(request, folder, _outcome(request))
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code)  # threads of libraries are not waited for


def _die_with(parent: int) -> None:
    """Have Linux send SIGKILL when the process that waits was killed itself."""
    with suppress(Exception):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(GONE)


def _set_environment(request: Table) -> None:
    here = str(Path.cwd())
    os.environ.update(request["environment"])
    os.environ.update({"HAILO_SDK_LOG_DIR": here, "HAILORT_LOGGER_PATH": here, "HAILO_CLIENT_LOGS_ENABLED": "true"})
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    gpus = request["gpus"]
    if gpus == "all":
        # The compiler hides a GPU that is over 5 % full unless it is named.
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(gpu[0] for gpu in _find_gpus())
    os.environ["CUDA_VISIBLE_DEVICES"] = gpus or "-1"


def _outcome(request: Table) -> Table:
    is_imported = request["settings"].get("import", True)
    try:
        environment = _installed_environment()  # before the compiler adds to the places where Python looks
        client = importlib.import_module("hailo_sdk_client") if is_imported else None
        if client is not None:
            versions = {"dfc": client.__version__, "numpy": importlib.import_module("numpy").__version__}
            environment.update({name: str(version) for name, version in versions.items()})
    except BaseException as error:
        return _failure("environment", error)
    try:
        facts = ACTIONS[request["action"]](client, request)
    except BaseException as error:
        return {"environment": environment, **_failure("disk" if _is_full(error) else "raised", error)}
    return {"environment": environment, "facts": facts}


def _failure(kind: str, error: BaseException) -> Table:
    lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    texts = (kind, type(error).__name__, str(error)[:TEXT_BYTES], lines[-TEXT_BYTES:])
    return {name: texts[i] for i, name in enumerate(("kind", "type", "message", "traceback"))}


def _is_full(error: BaseException | None) -> bool:
    if error is None:
        return False
    return any(full in str(error) for full in FULL) or _is_full(error.__cause__ or error.__context__)


def _write_result(request: Table, folder: Path, result: Table) -> int:
    try:
        draft = folder / (RESULT + ".partial")
        draft.write_text(json.dumps({"nonce": request["nonce"], **result}), encoding="utf-8")
        draft.replace(folder / RESULT)
    except OSError as error:
        return DISK if _is_full(error) else 1
    return 0


def _installed_environment() -> dict[str, str]:
    """Return what is told of the environment by what is installed in it; nothing of that is loaded."""
    python, found = platform.python_version(), _distributions()
    listed = [f"python=={python}", *(f"{name}=={found[name]}" for name in sorted(found))]
    digest = hashlib.sha256("\n".join(listed).encode()).hexdigest()
    return {"dfc": found.get(DISTRIBUTION, "?"), "numpy": found.get("numpy", "?"), "python": python, "digest": digest}


def _distributions() -> dict[str, str]:
    """Return the version of everything that is installed, by normalized name, as the names of its folders say."""
    found: dict[str, str] = {}
    for folder in filter(os.path.isdir, sys.path):
        for place in sorted(Path(folder).iterdir()):
            match = re.fullmatch(r"(.+?)(?:-([^-]+))?(?:-py[\d.]+)?\.(?:dist|egg)-info", place.name)
            if match is not None:
                found.setdefault(re.sub(r"[-_.]+", "-", match.group(1)).lower(), match.group(2) or "?")
    return found


def _find_gpus() -> list[list[str]]:
    """Return index and name of every GPU of this machine, its memory and what of it is taken, as the driver tells."""
    command = ["nvidia-smi", "--query-gpu=index,name,memory.total,memory.used", "--format=csv,noheader,nounits"]
    with suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=True)
        lines = answer.stdout.decode("utf-8", "replace").splitlines()
        return [line.split(", ") for line in lines if line.count(", ") == 3]
    return []


def probe(client: Any, request: Table) -> Table:
    """Say what is here: files whose marks tell that it is still the same, GPUs, memory, disk, chips it compiles for."""
    accepted, refused, visible = [], {}, os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    for arch in request["settings"].get("hw_archs", []) if client is not None else []:
        try:
            client.ClientRunner(hw_arch=arch)
            accepted.append(arch)
        except Exception as error:
            refused[arch] = f"{type(error).__name__}: {error}"[:TEXT_BYTES]
    own = [Path(sys.executable).resolve(), Path(sys.prefix) / "pyvenv.cfg", *map(Path, sys.path)]
    own += [] if client is None else [Path(client.__file__).parent]
    requires: list[str] = []
    with suppress(metadata.PackageNotFoundError):
        requires = metadata.requires(DISTRIBUTION) or []
    free = re.findall(r"MemAvailable: *(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"))
    return {
        "files": [str(place) for place in dict.fromkeys(own) if place.exists()],
        **{"hw_archs": accepted, "refused": refused, "requires": requires[:1000]},
        **{"machine": platform.machine(), "system": platform.system(), "executable": sys.executable},
        "gpus": [gpu[1] for gpu in _find_gpus() if gpu[0] in visible or visible[0].startswith("GPU-")],
        **{"memory_mb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 10**6},
        **{"free_memory_mb": int(free[0]) * 1024 // 10**6, "disk_mb": shutil.disk_usage(".").free // 10**6},
    }


def parse(client: Any, request: Table) -> Table:
    """Translate an ONNX file into a parsed HAR. Facts: the producing layers of the outputs, in their order."""
    settings = request["settings"]
    names = {"start_nodes": "start_node_names", "end_nodes": "end_node_names", "input_shapes": "net_input_shapes"}
    options = {names[name]: settings[name] for name in names if settings.get(name)}
    runner = client.ClientRunner(hw_arch=settings["hw_arch"])
    runner.translate_onnx_model(request["inputs"]["onnx"], settings["net_name"], **options)
    outputs = _outputs(runner.get_hn_dict())
    _check_order(outputs, settings.get("end_nodes") or [])
    runner.save_har(request["outputs"]["har"])
    return {"outputs": [{"layer": layer, "original_names": names} for layer, names in outputs]}


def _outputs(hn: Any) -> list[tuple[str, list[str]]]:
    """Return the producing layer of each output with the ONNX nodes that it was made of, in the order of outputs."""
    layers, found = hn["layers"], []
    for name in hn["net_params"]["output_layers_order"]:
        layer = layers[name]
        if layer["type"] == "output_layer":
            name = layer["input"][0]
            layer = layers[name]
        found.append((str(name), [str(original) for original in layer.get("original_names", [])]))
    return found


def _check_order(outputs: list[tuple[str, list[str]]], asked: list[str]) -> None:
    """Raise when the outputs are others than the asked ones, or come in another order.

    A name that no layer knows is no fault: end nodes may be given as names of graph outputs.
    """
    if asked and len(outputs) != len(asked):
        raise WorkerError(f"{len(asked)} outputs were asked for, the network has {len(outputs)}")
    for number, end in enumerate(asked):
        places = [i for i, (_, names) in enumerate(outputs) if end in names]
        if places and number not in places:
            raise WorkerError(f"output {number} should be {end}, which became output {places[0]}")


def optimize(client: Any, request: Table) -> Table:
    """Quantize a parsed HAR as a model script says."""
    runner = _load(client, request)
    runner.load_model_script(request["inputs"]["script"])
    runner.optimize(_images(request["inputs"]["calibration"]))
    runner.save_har(request["outputs"]["har"])
    return {}


def compile_network(client: Any, request: Table) -> Table:
    """Compile a quantized HAR. Facts: whether the allocation that it found could be kept."""
    inputs, outputs = request["inputs"], request["outputs"]
    runner = _load(client, request)
    for name in ("allocation", "script"):  # later lines win, and those of the script are somebody's wish
        text = Path(inputs[name]).read_text(encoding="utf-8") if name in inputs else ""
        if any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
            runner.load_model_script(text, append=True)
    hef = runner.compile()
    if not isinstance(hef, bytes) or not hef:
        raise WorkerError(f"compile() returned {type(hef).__name__} instead of the bytes of a HEF")
    Path(outputs["hef"]).write_bytes(hef)
    return {"allocation": "allocation" in outputs and _keep_allocation(runner, Path(outputs["allocation"]))}


def _keep_allocation(runner: Any, place: Path) -> bool:
    try:
        runner.save_har("compiled.har")
        with tarfile.open("compiled.har", "r:*") as archive:
            found = [archive.extractfile(info) for info in archive if info.name.endswith(".auto.alls")]
            place.write_bytes(found[0].read() if found and found[0] is not None else b"")
        Path("compiled.har").unlink()
    except Exception:  # the HEF of hours is not given up for what would make the next one quicker
        traceback.print_exc()
    return place.is_file() and place.stat().st_size > 0


def simulate(client: Any, request: Table) -> Table:
    """Run a network on samples in one of the compiler's own simulations; writes float32 arrays by producing layer."""
    numpy = importlib.import_module("numpy")
    inputs, settings = request["inputs"], request["settings"]
    runner, samples = _load(client, request), _images(inputs["samples"])
    if "script" in inputs:
        runner.load_model_script(inputs["script"])
        runner.optimize_full_precision(calib_data=samples)
    context = getattr(client.InferenceContext, "SDK_" + settings["context"].upper())
    with runner.infer_context(context) as opened:
        answer = runner.infer(opened, samples, batch_size=settings.get("batch_size", 1))
    arrays = list(answer) if isinstance(answer, (list, tuple)) else [answer]
    names = [layer for layer, _ in _outputs(runner.get_hn_dict())]
    if len(arrays) != len(names):
        raise WorkerError(f"{len(arrays)} outputs came from a network of {len(names)}")
    arrays = [numpy.asarray(array, dtype="float32") for array in arrays]
    numpy.savez(request["outputs"]["arrays"], **dict(zip(names, arrays)))  # noqa: B905 - strict came with Python 3.10
    return {"outputs": names}


def profile(client: Any, request: Table) -> Table:
    """Estimate speed and load of a compiled network. Facts: `stats` and `latency_data` as the profiler gives them."""
    hef = {"hef_filename": request["inputs"]["hef"]} if "hef" in request["inputs"] else {}
    export = _load(client, request).profile(should_use_logical_layers=True, **hef)
    text = json.dumps({name: export.get(name) for name in ("stats", "latency_data")}, default=str, skipkeys=True)
    return dict(json.loads(text)) if len(text) <= FACTS_BYTES else {}


def _load(client: Any, request: Table) -> Any:
    arch = request["settings"].get("hw_arch")
    return client.ClientRunner(har=request["inputs"]["har"], **({"hw_arch": arch} if arch else {}))


def _images(path: str) -> Any:
    """Return images [N, H, W, C], uint8 or float32, that stay in their file until they are asked for."""
    numpy = importlib.import_module("numpy")
    images = numpy.asarray(numpy.load(path, mmap_mode="r"))
    if images.ndim != 4 or str(images.dtype) not in ("uint8", "float32"):
        raise WorkerError(f"images of shape {images.shape} and type {images.dtype}; expected [N, H, W, C]")
    return images


ACTIONS: dict[str, Callable[[Any, Table], Table]] = {
    **{"probe": probe, "parse": parse, "optimize": optimize, "compile": compile_network},
    **{"simulate": simulate, "profile": profile},
}

if __name__ == "__main__":
    main()
