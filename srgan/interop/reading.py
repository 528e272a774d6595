"""Files of tensors: PyTorch's .pth and .pt in both their forms, and .safetensors, told apart by their content."""

import contextlib
import io
import mmap
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from srgan.errors import SRGANError
from srgan.interop import torch_pickle
from srgan.interop.tensors import DTYPES, Unreadable
from srgan.interop.torch_pickle import Storage

# Where a state dict lies in what was saved; the first that is there: weights averaged over training come first.
_AVERAGED = (
    *("params_ema", "params-ema", "net_g_ema", "netG_ema", "generator_ema", "g_ema"),
    *("model_ema", "ema_model", "ema"),
)
_WRAPPERS = ("params", "state_dict", "model", "generator", "netG", "model_state_dict", "net_g", "net")
_FLAT = _AVERAGED + tuple(word for word in _WRAPPERS if word != "model")  # `model.0.weight` is ESRGAN's own
_BESIDE = {*_FLAT, "discriminator", "net_d", "netD"}  # first words of what a training saves in one file
_COMPILED = "_orig_mod."  # in the names of what `torch.compile` has wrapped
_COUNTER = "n_averaged"  # beside the network in PyTorch's AveragedModel

_MOST_NAME = 500  # characters of a tensor's name
_MOST_REPEATED = 16  # times the file's size: what its tensors may be together, as several may have the same values

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_SAFETENSORS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_SAFETENSORS |= {"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool"}


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """The network's tensors in a .pth, .pt or .safetensors file, by name; no code in the file is run.

    Returns:
        Arrays as they are stored, to be used by `srgan.interop.tensors.as_float32`.

    Raises:
        SRGANError: there is no such file, it is of another kind or damaged, or it holds something other than tensors.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, _mapped(file) as content:
            tensors = _state_dict(_read(content, file))
            if sum(values.nbytes for values in tensors.values()) > _MOST_REPEATED * len(content) + 2**20:
                raise Unreadable("its tensors repeat the same few values many times over")
            return {name: np.array(values) for name, values in tensors.items()}
    except Unreadable as error:
        raise error.of(path) from error
    except OSError as error:
        raise SRGANError(f"{path}: cannot be read ({error.strerror or error})") from error


@contextlib.contextmanager
def _mapped(file) -> Iterator[Any]:
    """The file's content in memory as it is needed; empty files cannot be mapped."""
    if file.seek(0, io.SEEK_END) == 0:
        raise Unreadable("it is empty")
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        yield content
    finally:
        with contextlib.suppress(BufferError):  # a traceback may still hold an array; the map closes with it
            content.close()


def _read(content, file):
    if content[:4] == b"PK\x03\x04":
        return _read_zip(file)
    if content[8:9] == b"{":
        return _read_safetensors(content)
    if content[:1] == b"\x80":
        return _read_legacy(content)
    raise Unreadable("it is no model that is known here: neither .keras nor PyTorch's .pth, .safetensors or .onnx")


def _read_zip(file):
    """PyTorch's form since 1.6: a zip of `data.pkl` and a file for each storage, all of them stored as they are."""
    try:
        with zipfile.ZipFile(file) as archive:
            pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
            if len(pickles) != 1:
                raise Unreadable("it is a zip file, but no model of PyTorch's or Keras'")
            folder = pickles[0].removesuffix("data.pkl")
            if any(name.startswith(f"{folder}code/") for name in archive.namelist()):
                raise Unreadable("it holds a program (TorchScript), which is not run; export the model as .onnx")
            if f"{folder}byteorder" in archive.namelist() and _member(archive, f"{folder}byteorder") != b"little":
                raise Unreadable("its numbers are in big-endian order; save it on an ordinary machine")
            storages: dict[tuple, np.ndarray] = {}
            most = _MOST_REPEATED * file.seek(0, io.SEEK_END)

            def values_of(storage: Storage) -> np.ndarray:
                nonlocal most
                place = storage.kind, storage.key
                if place not in storages:
                    most -= archive.getinfo(f"{folder}data/{storage.key}").file_size
                    if most < 0:
                        raise Unreadable("its storages overlap each other")
                    values, dtype = _member(archive, f"{folder}data/{storage.key}"), DTYPES[storage.kind]
                    if not 0 <= storage.count * dtype.itemsize <= len(values):
                        raise Unreadable("it is damaged or was cut off; get it anew")
                    storages[place] = np.frombuffer(values, dtype, storage.count)
                return storages[place]

            return torch_pickle.load(io.BytesIO(_member(archive, pickles[0])), values_of)
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise Unreadable(f"it is damaged or was cut off ({' '.join(str(error).split())[:100]}); get it anew") from error


def _member(archive, name):
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > info.compress_size:
        raise Unreadable("it is a zip file, but compressed, which PyTorch's are not")
    return archive.read(info)  # which verifies the checksum


def _read_legacy(content):
    """The form before: five pickles one after another, and behind them the storages, each after its length."""
    storages: dict[str, np.ndarray] = {}
    most = len(content)  # bytes

    def refuse(storage):
        raise Unreadable("it is no model of PyTorch's")

    def values_of(storage: Storage) -> np.ndarray:
        # Its place in the file is known only behind this pickle: space for it now, its values later.
        nonlocal most
        if storage.key not in storages:
            size = storage.count * DTYPES[storage.kind].itemsize
            if not 0 <= size <= most:
                raise Unreadable("it is damaged or was cut off; get it anew")
            most -= size
            storages[storage.key] = np.zeros(storage.count, DTYPES[storage.kind])
        return storages[storage.key]

    if torch_pickle.load(content, refuse) != _LEGACY_MAGIC:
        raise Unreadable("it is a pickle, but no model of PyTorch's")
    if torch_pickle.load(content, refuse) != _LEGACY_VERSION:
        raise Unreadable("it is of another version of PyTorch's older form; save it anew with a new PyTorch")
    torch_pickle.load(content, refuse)
    tensors = torch_pickle.load(content, values_of)
    keys = torch_pickle.load(content, refuse)
    if not isinstance(keys, list) or not all(isinstance(key, str | int) for key in keys):
        raise Unreadable("its list of tensors is damaged")
    if sorted(map(str, keys)) != sorted(storages):
        raise Unreadable("its storages are not those of its tensors")
    for key in map(str, keys):
        values = storages[key]
        count = int.from_bytes(content.read(8), "little")
        read = content.read(values.nbytes)
        if count != values.size or len(read) != values.nbytes:
            raise Unreadable("it is damaged or was cut off; get it anew")
        values[:] = np.frombuffer(read, values.dtype)
    return tensors


def _read_safetensors(content):
    import safetensors

    try:
        return {
            name: np.frombuffer(tensor["data"], DTYPES[_SAFETENSORS[tensor["dtype"]]]).reshape(tensor["shape"])
            for name, tensor in safetensors.deserialize(content[:])
        }
    except KeyError as error:
        raise Unreadable(f"it has tensors of the kind {error.args[0]}, which is not known here") from error
    except (safetensors.SafetensorError, ValueError) as error:
        raise Unreadable(f"it is damaged or was cut off ({' '.join(str(error).split())[:100]}); get it anew") from error


def _state_dict(saved):
    """The network's tensors in what was saved: the state dict itself, or one inside of it."""
    for _ in range(8):
        inner = _inner(saved) if isinstance(saved, dict) else None
        if inner is None:
            break
        saved = inner
    pairs = saved.items() if isinstance(saved, dict) else ()
    tensors = {name: values for name, values in pairs if isinstance(name, str) and _is_tensor(values)}
    tensors.pop(_COUNTER, None)
    if not tensors:
        if not isinstance(saved, dict):
            found = "but one without a name" if isinstance(saved, np.ndarray) else f"but a {type(saved).__name__}"
        else:
            found = f"its keys are {', '.join(str(key)[:80] for key in list(saved)[:5])}" if saved else "it is empty"
        raise Unreadable(f"it holds no tensors of a network ({found})")
    if max(map(len, tensors)) > _MOST_NAME:
        raise Unreadable(f"it has names of more than {_MOST_NAME} characters")
    return _without_prefixes({name.replace(_COMPILED, ""): values for name, values in tensors.items()})


def _inner(saved):
    """The dictionary inside of another that holds the network, by its name or as the only one of tensors; None: there is none."""
    for word in _AVERAGED + _WRAPPERS:
        inner = saved.get(word)
        # What is called an average may be its settings, with the network elsewhere.
        if isinstance(inner, dict) and inner and (word in _WRAPPERS or any(map(_is_tensor, inner.values()))):
            return inner
    found = [
        inner for inner in saved.values() if isinstance(inner, dict) and inner and all(map(_is_tensor, inner.values()))
    ]
    return found[0] if len(found) == 1 and not any(map(_is_tensor, saved.values())) else None


def _is_tensor(value):
    return isinstance(value, np.ndarray)


def _without_prefixes(tensors):
    """The tensors under the names that the network has for them, without a word that all have in front.

    A file without dictionaries in it, as .safetensors, may have the words of `_BESIDE` in front of all names, and then the first
    of `_FLAT` is taken as it would be of dictionaries. A number behind a word tells that it is the network's own.
    """
    saved = {name.partition(".")[0] for name in tensors} <= _BESIDE
    for word in _FLAT if saved else ():
        inner = {name: values for name, values in tensors.items() if name.startswith(f"{word}.")}
        if inner:
            tensors = inner
            break
    first = next(iter(tensors)).partition(".")[0]
    if not all(re.match(rf"{re.escape(first)}\.[^\d.][^.]*\.", name) for name in tensors):
        return tensors
    return _without_prefixes({name.removeprefix(f"{first}."): values for name, values in tensors.items()})
