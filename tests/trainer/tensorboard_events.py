"""A second implementation of TensorBoard's event files, with the standard library only: strict about
framing, both checksums of each record and every protobuf field. Shares no code with the product.

Usage: tensorboard_events.py FOLDER      prints each event of each file as a line of JSON
"""

import json
import struct
import sys
from pathlib import Path


def crc32c(data):
    """CRC-32C bit by bit (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283, "the check value of the CRC catalogue"


def masked_crc(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def need(condition, what):
    if not condition:
        raise ValueError(what)


def records(data):
    """The payloads of a TFRecord file; nothing may be left over."""
    place = 0
    while place < len(data):
        need(len(data) - place >= 12, f"byte {place}: the header of a record is cut off")
        length, crc = struct.unpack_from("<QI", data, place)
        need(crc == masked_crc(data[place:place + 8]), f"byte {place}: checksum of the length")
        need(place + 16 + length <= len(data), f"byte {place}: a record is cut off")
        payload = data[place + 12:place + 12 + length]
        crc, = struct.unpack_from("<I", data, place + 12 + length)
        need(crc == masked_crc(payload), f"byte {place}: checksum of the data")
        yield payload
        place += 16 + length


def varint(data, place):
    value = 0
    for count in range(10):
        need(place < len(data), "a varint is cut off")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            need(count == 0 or byte != 0, "a varint is longer than it must be")
            return value, place
    raise ValueError("a varint has more than ten bytes")


def fields(data, allowed):
    """(name, value) of a message's fields. `allowed` is {number: (name, wire type)}."""
    place = 0
    while place < len(data):
        key, place = varint(data, place)
        need(key >> 3 in allowed, f"field {key >> 3} is unknown")
        name, wire = allowed[key >> 3]
        need(key & 7 == wire, f"{name} has wire type {key & 7}")
        if wire == 0:
            value, place = varint(data, place)
        else:
            size = {1: 8, 5: 4}.get(wire)
            if wire == 2:
                size, place = varint(data, place)
            need(place + size <= len(data), f"{name} is cut off")
            value = data[place:place + size]
            place += size
            if wire in (1, 5):
                value, = struct.unpack("<d" if wire == 1 else "<f", value)
        yield name, value


def message(data, allowed):
    """The same when no field may be there twice."""
    found = list(fields(data, allowed))
    need(len({name for name, _ in found}) == len(found), "a field is there twice")
    return dict(found)


EVENT = {1: ("wall_time", 1), 2: ("step", 0), 3: ("file_version", 2), 5: ("summary", 2),
         7: ("session_log", 2)}


def decode(payload):
    event = message(payload, EVENT)
    kinds = {"file_version", "summary", "session_log"} & set(event)
    need("wall_time" in event and len(kinds) == 1, f"an event with {sorted(event)}")
    if "file_version" in event:
        event["file_version"] = event["file_version"].decode()
    elif "session_log" in event:
        event["session_log"] = message(event["session_log"], {1: ("status", 0)})
    else:
        scalars = {}
        for _, part in fields(event["summary"], {1: ("value", 2)}):
            value = message(part, {1: ("tag", 2), 2: ("simple_value", 5)})
            tag = value["tag"].decode()
            need(tag not in scalars, f"{tag} is there twice in one event")
            scalars[tag] = value["simple_value"]
        event["summary"] = scalars
    return event


def read_file(path):
    """The events of one file, which begins with its version and the start of a session."""
    events = [decode(payload) for payload in records(Path(path).read_bytes())]
    need(events[0].get("file_version") == "brain.Event:2", "the version comes first")
    need(events[1].get("session_log") == {"status": 1}, "then a start")
    need(all("summary" in event for event in events[2:]), "then nothing but summaries")
    return events


def files_of(folder):
    """In the order in which TensorBoard reads them."""
    return sorted(path for path in Path(folder).iterdir() if "tfevents" in path.name)


def curves(folder):
    """{tag: {step: value}} as TensorBoard shows it: a start at step N takes away what earlier files
    say of N and later steps."""
    found = {}
    for path in files_of(folder):
        _, start, *summaries = read_file(path)
        found = {tag: {step: value for step, value in curve.items() if step < start["step"]}
                 for tag, curve in found.items()}
        for event in summaries:
            for tag, value in event["summary"].items():
                curve = found.setdefault(tag, {})
                need(event["step"] not in curve, f"{tag} has two values at {event['step']}")
                curve[event["step"]] = value
    return found


if __name__ == "__main__":
    for file in files_of(sys.argv[1]):
        for one in read_file(file):
            print(json.dumps(one))
