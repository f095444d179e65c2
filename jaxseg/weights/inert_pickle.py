"""Pickles read without executing anything: what a pickle would call or import stays a name.

A pickle is a program that may call any function. This reader carries out only what builds lists,
dictionaries, numbers and texts, and knows the few names by which PyTorch stores tensors
(`collections.OrderedDict`, `torch._utils._rebuild_tensor` and its relatives, the types of storage).
Everything else, such as an optimizer, the arguments of a command line or a class of Lightning, is
an `Inert`: it holds what the file gave it and does nothing.
"""

import pickletools
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple


class Name(NamedTuple):
    """A class or function that a pickle names; it is never imported."""

    module: str
    name: str


@dataclass(eq=False)
class Inert:
    """What a pickle would have made by calling something.

    Attributes:
        of: What it would have called.
        arguments: What it would have been called with.
        items: What was set in it by texts as keys, as in a dictionary.
        state: What it would have been restored from.
    """

    of: object
    arguments: object = ()
    items: dict[str, Any] = field(default_factory=dict)
    state: object = None


class Storage(NamedTuple):
    """A block of numbers elsewhere in the file: the name of its type, its key, its length."""

    kind: str
    key: str
    length: int


class StoredTensor(NamedTuple):
    """A view of a storage; `dtype` is given only where the storage has none of its own."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str = ""


def unpickled(stream: IO[bytes]) -> Any:  # noqa: ANN401  (what a pickle holds)
    """The content of the pickle at the position of a stream, which is left behind its end.

    Dictionaries hold only the entries whose keys are texts or integers, which become texts; sets
    are lists.

    Raises:
        ValueError: It is not a pickle, or ends too early. `LookupError`, `TypeError` and others may
            follow from damage too.
    """
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(stream):
        machine.step(opcode.name, argument)
    return machine.stack.pop()


# -- private ---------------------------------------------------------------------------------------

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NOTHING = {"PROTO", "FRAME", "STOP", "READONLY_BUFFER"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """The stack of a pickle, what it remembers, and where groups begin."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memory: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:  # noqa: ANN401
        """Carries out one instruction."""
        stack = self.stack
        if name in _NOTHING:
            return
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in ("POP", "POP_MARK"):
            self._drop(to_mark=name == "POP_MARK")
        elif name == "DUP":
            stack.append(stack[-1])
        elif name.endswith("PUT") or name == "MEMOIZE":
            self.memory[len(self.memory) if argument is None else argument] = stack[-1]
        elif name.endswith("GET"):
            stack.append(self.memory[argument])
        elif name in ("EMPTY_LIST", "EMPTY_SET"):
            stack.append([])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_TUPLE":
            stack.append(())
        elif name in _TUPLES:
            stack.append(tuple(self._last(_TUPLES[name])))
        elif name == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif name in ("LIST", "FROZENSET"):
            stack.append(self._since_mark())
        elif name in ("APPENDS", "ADDITEMS", "APPEND"):
            values = self._last(1) if name == "APPEND" else self._since_mark()
            if isinstance(stack[-1], list):
                stack[-1].extend(values)
        elif name == "DICT":
            stack.append(_set({}, self._since_mark()))
        elif name in ("SETITEM", "SETITEMS"):
            values = self._last(2) if name == "SETITEM" else self._since_mark()
            _set(stack[-1], values)
        else:
            self._object(name, argument)

    def _object(self, name: str, argument: Any) -> None:  # noqa: ANN401
        stack = self.stack
        if name == "GLOBAL":
            stack.append(Name(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(Name(*self._last(2)))
        elif name in ("REDUCE", "NEWOBJ"):
            stack.append(_made(*self._last(2)))
        elif name == "NEWOBJ_EX":
            of, arguments, _ = self._last(3)
            stack.append(_made(of, arguments))
        elif name == "INST":
            stack.append(_made(Name(*argument.split(" ", 1)), tuple(self._since_mark())))
        elif name == "OBJ":
            of, *arguments = self._since_mark()
            stack.append(_made(of, tuple(arguments)))
        elif name == "BUILD":
            (state,) = self._last(1)
            if isinstance(stack[-1], Inert):
                stack[-1].state = state
        elif name == "BINPERSID":
            stack.append(_stored(*self._last(1)))
        elif name.startswith("EXT") or name in ("PERSID", "NEXT_BUFFER"):
            stack.append(Inert(Name("pickle", name)))
        else:  # a number, a text or bytes
            stack.append(argument)

    def _last(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("a pickle that takes more than it has")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def _since_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def _drop(self, *, to_mark: bool) -> None:
        if to_mark or (self.marks and self.marks[-1] == len(self.stack)):
            self._since_mark()
        else:
            self.stack.pop()


def _set(target: Any, pairs: list[Any]) -> Any:  # noqa: ANN401
    items = target.items if isinstance(target, Inert) else target
    if isinstance(items, dict):
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if type(key) in (str, int):
                items[str(key)] = value
    return target


def _made(of: object, arguments: object) -> object:
    """What a call makes: a dictionary or a tensor, if it is one of the known names."""
    if not isinstance(of, Name) or not isinstance(arguments, tuple):
        return Inert(of, arguments)
    known = of.module in ("torch._utils", "torch.nn.parameter", "torch._tensor")
    if of in (Name("collections", "OrderedDict"), Name("collections", "defaultdict")):
        pairs = arguments[0] if arguments and isinstance(arguments[0], list) else []
        return _set({}, [part for pair in pairs for part in pair])
    if known and of.name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
        return _tensor(*arguments[:4])
    if known and of.name == "_rebuild_tensor_v3":
        storage, offset, shape, stride, _, _, dtype, *_ = arguments
        return _tensor(storage, offset, shape, stride, dtype.name)
    wraps = ("_rebuild_parameter", "_rebuild_parameter_with_state", "Parameter")
    if known and of.name in wraps and arguments:
        return arguments[0]
    return Inert(of, arguments)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, dtype: str = "") -> object:  # noqa: ANN401
    if not isinstance(storage, Storage):
        return Inert(Name("torch", "tensor without storage"))
    if any(type(n) is not int or n < 0 for n in (offset, *shape, *stride)):
        raise ValueError(f"a tensor of shape {shape}, stride {stride}, offset {offset}")
    return StoredTensor(storage, offset, tuple(shape), tuple(stride), dtype)


def _stored(pid: Any) -> object:  # noqa: ANN401
    if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage"):
        raise ValueError("a reference to something other than a storage")
    kind, key, count = pid[1], pid[2], pid[4]
    if len(pid) > 5 and pid[5] is not None:
        raise ValueError("a storage that is a view of another one, as in files of PyTorch 0.1")
    if not isinstance(kind, Name) or type(count) is not int or count < 0:
        raise ValueError(f"a storage of {count} numbers")
    return Storage(kind.name, str(key), count)
