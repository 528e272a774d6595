"""The pickles inside of PyTorch's files, read by an interpreter of its own that can make tensors and containers only.

A pickle is a program, and Python's own reader calls whatever function the program names. This one calls none: a name is
looked up in the small table below, and any other is refused before an object is made. `pickletools` takes the
program apart; it runs nothing and stays within the file.
"""

import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

from srgan.interop.tensors import Unreadable, strided

_KINDS = {"Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Double": "float64", "Long": "int64"}
_KINDS |= {"Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool"}
_STORAGES = {f"torch {name}Storage": kind for name, kind in _KINDS.items()}
_REBUILD = "torch._utils _rebuild_tensor_v2"
_REBUILD_OLD = "torch._utils _rebuild_tensor"
_PARAMETER = "torch._utils _rebuild_parameter"
_CONTAINERS = {"collections OrderedDict": dict, "collections Counter": dict, "torch Size": tuple}
_CONTAINERS |= {"builtins set": set, "__builtin__ set": set}
_KNOWN = {_REBUILD, _REBUILD_OLD, _PARAMETER, *_CONTAINERS, *_STORAGES}
_MOST_STEPS = 2_000_000  # opcodes, some seconds; a network of 1,000 tensors takes some 50,000
_MOST_BITS = 128  # of a number; the largest that PyTorch writes has 77

_MARK = object()


class Storage(NamedTuple):
    """The values of one or more tensors, as the pickle names them."""

    kind: str  # a name of NumPy's, or bfloat16
    key: str
    count: int  # type: ignore[assignment]  # tuples have a method of that name


class _Name(NamedTuple):
    """A function or class that the pickle names and that is known here."""

    name: str


def load(file, values_of: Callable[[Storage], Any]) -> Any:
    """Read one pickle from `file`, a binary file object or mmap, which is then at the pickle's end.

    Args:
        values_of: gives the values of a storage as a flat array.

    Returns:
        Dictionaries, lists, tuples, texts, numbers and `strided` arrays.

    Raises:
        Unreadable: it is damaged, or holds something other than tensors and containers; the message names it.
    """
    machine = _Machine(values_of)
    try:
        for steps, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if opcode.name == "STOP":
                return machine.stack.pop()
            if steps > _MOST_STEPS:
                break
            machine.step(opcode.name, argument)
    except Unreadable:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        raise Unreadable("its list of tensors is damaged") from error
    raise Unreadable("its list of tensors is damaged")


class _Machine:
    """A pickle's stack, and the values it has put aside."""

    def __init__(self, values_of):
        self.stack, self.memo, self.values_of = [], {}, values_of

    def step(self, name, argument):
        stack = self.stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                stack.append(_MARK)
            case "POP":
                stack.pop()
            case "POP_MARK":
                self.marked()
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                stack.append({"TUPLE": tuple, "LIST": list, "DICT": dict}[name[6:]]())
            case "TUPLE":
                stack.append(tuple(self.marked()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "LIST":
                stack.append(self.marked())
            case "DICT":
                stack.append(_pairs(self.marked()))
            case "APPEND":
                value = stack.pop()
                list.append(stack[-1], value)
            case "APPENDS":
                values = self.marked()
                list.extend(stack[-1], values)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                dict.__setitem__(stack[-1], _key(key), value)
            case "SETITEMS":
                pairs = _pairs(self.marked())
                dict.update(stack[-1], pairs)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                stack.append(_known(argument))
            case "STACK_GLOBAL":
                second, first = stack.pop(), stack.pop()
                stack.append(_known(f"{first} {second}"))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_made(function, arguments))
            case "BUILD":
                stack.pop()  # the attributes of an OrderedDict: `_metadata`, versions of modules
                if not isinstance(stack[-1], dict):
                    raise Unreadable("it holds an object other than tensors and containers")
            case "BINPERSID":
                stack.append(self.storage(stack.pop()))
            case _ if type(argument) is int and argument.bit_length() > _MOST_BITS:
                raise Unreadable("its list of tensors is damaged")
            case _ if _is_plain(argument) and name not in ("EXT1", "EXT2", "EXT4", "PERSID", "INST"):
                stack.append(argument)
            case _:
                raise Unreadable(f"it holds an object other than tensors and containers (pickle's {name})")

    def marked(self):
        """Take what is on the stack from the last mark on."""
        start = len(self.stack) - 1  # from the end, or many marks on a deep stack would take hours
        while self.stack[start] is not _MARK:
            start -= 1
            if start < 0:
                raise Unreadable("its list of tensors is damaged")
        values = self.stack[start + 1 :]
        del self.stack[start:]
        return values

    def storage(self, given):
        """A storage's values: ("storage", class, key, device, count), in the older form with the place in another's."""
        word, kind, key, _, count, *rest = given
        if word != "storage" or rest not in ([], [None]) or kind.name not in _STORAGES:
            raise Unreadable("it has a storage of an unknown form")
        return self.values_of(Storage(_STORAGES[kind.name], str(key), int(count)))


def _is_plain(value):
    return type(value) in (str, bytes, bool, int, float)


def _key(value):
    """A key of a dictionary or a member of a set: hashing a tuple of tuples of a million levels would crash Python."""
    if not (value is None or _is_plain(value) or type(value) is tuple and all(map(_is_plain, value))):
        raise Unreadable("its list of tensors is damaged")
    return value


def _pairs(values):
    return {_key(key): value for key, value in zip(values[::2], values[1::2], strict=True)}


def _known(name):
    if name not in _KNOWN:
        raise Unreadable(
            f"it names {'.'.join(name.split()[:2])[:80]}, which is neither a tensor nor a container and is not run; save the "
            "network's state_dict alone, best as .safetensors"
        )
    return _Name(name)


def _made(function, arguments):
    name = function.name
    if name in (_REBUILD, _REBUILD_OLD):
        storage, offset, shape, strides, *rest = arguments
        if rest[2:] and rest[2]:  # bits that PyTorch keeps beside a view in place of other values
            raise Unreadable(
                f"it has a tensor whose values are to be changed ({', '.join(rest[2])}); save a copy of it"
            )
        return strided(storage, offset, shape, strides)
    if name == _PARAMETER:
        return arguments[0]
    if name in _CONTAINERS:
        if len(arguments) > 1:
            raise Unreadable("it has a container of an unknown form")
        container, members = _CONTAINERS[name], arguments[0] if arguments else ()
        if container is dict:
            return {_key(key): value for key, value in (members.items() if isinstance(members, dict) else members)}
        return {_key(value) for value in members} if container is set else tuple(members)
    raise Unreadable(f"it calls {name.replace(' ', '.')}, which makes no tensor")
