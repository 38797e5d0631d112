"""Holds every reply to what the SDK declares: its types are generated from Dialpad's own document."""

import functools
import inspect
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typing_extensions
from dialpad.resources import DialpadResourcesMixin

#: Where real replies differ: a target has its office, and the reply of OAuth has a number, as RFC 6749 wants.
UNDECLARED = {'CallContactProto': {'office_id'}, 'AuthorizeTokenResponseBodySchema': {'expires_in'}}


def differences(declared, value, place):
    """Returns what of a value is not as declared. Whole numbers of 64 bits are text on the wire."""
    origin, arguments = get_origin(declared), get_args(declared)
    if origin is Annotated or origin in (typing_extensions.NotRequired, typing_extensions.Required):
        return differences(arguments[0], value, place)
    if declared is Any or declared is dict:
        return []
    if origin in (Union, UnionType):
        found = [differences(one, value, place) for one in arguments]
        return min(found, key=len)
    if origin is Literal:
        return [] if value in arguments else [f'{place}: {value!r} is none of {arguments}']
    if origin is list:
        if not isinstance(value, list):
            return [f'{place}: {value!r} is no list']
        return [wrong for item in value for wrong in differences(arguments[0], item, f'{place}[]')]
    if declared is int:
        is_integer = isinstance(value, str) and value.lstrip('-').isdigit()
        return [] if is_integer else [f'{place}: {value!r} is no 64-bit integer as text']
    if typing_extensions.is_typeddict(declared):
        return differences_of_object(declared, value, place)
    expected = {float: (int, float), NoneType: (NoneType, dict)}.get(declared, declared)
    return [] if isinstance(value, expected) else [f'{place}: {value!r} is no {declared}']


def differences_of_object(declared, value, place):
    if not isinstance(value, dict):
        return [f'{place}: {value!r} is no object']
    fields = get_type_hints(declared, include_extras=True)
    free = UNDECLARED.get(declared.__name__, set())
    unknown = [f'{place}.{name} is not declared' for name in value if name not in fields and name not in free]
    known = [
        wrong
        for name, item in value.items()
        if name in fields and name not in free
        for wrong in differences(fields[name], item, f'{place}.{name}')
    ]
    missing = [f'{place}.{name} is missing' for name in declared.__required_keys__ if name not in value]
    return unknown + known + missing


def checked(method, place):
    declared = get_type_hints(method, include_extras=True)['return']

    @functools.wraps(method)
    def call(*args, **kwargs):
        reply = method(*args, **kwargs)
        if get_origin(declared) is Iterator:
            return (hold(get_args(declared)[0], item, place) for item in reply)
        return hold(declared, reply, place)

    return call


def hold(declared, value, place):
    wrong = differences(declared, value, place)
    if wrong:
        raise AssertionError('\n'.join(wrong))
    return value


def check_every_reply():
    """Wraps every method of every resource of the SDK."""
    for name, resource in inspect.getmembers(DialpadResourcesMixin, lambda it: isinstance(it, property)):
        kind = get_type_hints(resource.fget)['return']
        for method_name, method in inspect.getmembers(kind, inspect.isfunction):
            if not method_name.startswith('_'):
                setattr(kind, method_name, checked(method, f'{name}.{method_name}'))
