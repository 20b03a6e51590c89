"""Files of the reference implementation read by ours, and ours by it; and of thousands of damaged
files ours accepts none that the reference refuses.

    safetensors_test.py TOOL    the path of safetensors_tool (tests/checkpoint)
"""

import json
import random
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import safetensors
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import load_file, save, save_file

TOOL = sys.argv.pop()
TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16,
         "BF16": torch.bfloat16, "I64": torch.int64, "BOOL": torch.bool, "U8": torch.uint8}


def tool(*arguments):
    done = subprocess.run([TOOL, *map(str, arguments)], check=True, capture_output=True)
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def random_tensors(seed):
    """Every type in shapes of 0 to 5 dimensions, some of them empty; any bits, infinities too."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for type_ in TYPES.values():
        for dims in range(6):
            for _ in range(3):
                shape = torch.randint(0 if dims > 2 else 1, 6, (dims,), generator=generator).tolist()
                if type_.is_floating_point:
                    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[type_.itemsize]
                    limits = torch.iinfo(integer)
                    tensor = torch.randint(limits.min, limits.max, shape, dtype=integer,
                                           generator=generator).view(type_)
                else:
                    tensor = torch.randint(0, 2, shape, generator=generator).to(type_)
                tensors[f"layers.{len(tensors)}.weight"] = tensor
    return tensors


class Safetensors(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="enodia_safetensors_")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def expect_read(self, tensors):
        read = {tensor["name"]: tensor for tensor in tool("read", self.folder)}
        self.assertEqual(sorted(read), sorted(tensors))
        for name, tensor in tensors.items():
            self.assertIs(TYPES[read[name]["type"]], tensor.dtype)
            self.assertEqual(read[name]["shape"], list(tensor.shape))
            if tensor.dtype.is_floating_point:
                bits = [struct.unpack("<d", struct.pack("<Q", b))[0] for b in read[name]["bits"]]
                found = torch.tensor(bits, dtype=torch.float64).reshape(tensor.shape)
                torch.testing.assert_close(found, tensor.double(), rtol=0, atol=0, equal_nan=True)
                same_sign = torch.signbit(found) == torch.signbit(tensor.double())
                self.assertTrue((same_sign | found.isnan()).all(), name)

    def test_one_file_of_the_reference_is_read(self):
        tensors = random_tensors(1)
        save_file(tensors, self.folder / "model.safetensors", metadata={"format": "pt"})
        self.expect_read(tensors)

    def test_shards_of_the_hub_are_read(self):
        tensors = random_tensors(2)
        save_torch_state_dict(tensors, self.folder, max_shard_size=2000)
        self.assertGreater(len(list(self.folder.glob("model-*.safetensors"))), 2)
        self.expect_read(tensors)

    def test_the_reference_reads_ours(self):
        path = self.folder / "ours.safetensors"
        tool("write", path)
        ours = load_file(path)
        expected = {
            "wide": torch.tensor([[0.1], [-1e300], [5e-324]], dtype=torch.float64),
            "integers": torch.tensor(-1 << 62),
            'gr\u00fc\u00df "e\\': torch.tensor([0.1, -3e38]),
            "empty": torch.zeros(4, 0),
            "brains": torch.tensor([0x3F80, 0xC049 - 65536, 0x7F80, 1],
                                   dtype=torch.int16).view(torch.bfloat16).reshape(2, 2),
        }
        self.assertEqual(sorted(ours), sorted(expected))
        for name, tensor in expected.items():
            self.assertIs(ours[name].dtype, tensor.dtype)
            self.assertTrue(torch.equal(ours[name], tensor), name)
        with safetensors.safe_open(path, "pt") as file:
            self.assertEqual(file.metadata(), {"format": "pt", "line": "a\nb"})

    def test_what_the_reference_refuses_is_refused(self):
        source = random.Random(3)
        good = save({"b": torch.zeros(2, 3), "n": torch.zeros(0, 3, dtype=torch.float64),
                     "a": torch.zeros((), dtype=torch.bfloat16)}, {"format": "pt"})
        header_end = 8 + struct.unpack_from("<Q", good)[0]

        def mutated():
            content = bytearray(good)
            for _ in range(source.randint(1, 2)):
                place = source.randrange(header_end)
                byte = source.choice(b'{}[]",:0123456789-.eFBU6\\ \0\n') if source.random() < 0.7 \
                    else source.randrange(256)
                kind = source.randrange(3)
                if kind == 0:
                    content[place] = byte
                elif kind == 1:
                    content.insert(place, byte)
                else:
                    del content[place]
            if source.random() < 0.8:  # an honest length, to get past it
                content[:8] = struct.pack("<Q", len(content) - 8 - 26)
            return bytes(content)

        def tiled():
            """Three tensors of bytes anywhere in eight: holes and overlaps, now and then none."""
            cuts = sorted(source.choices(range(9), k=2))
            places = [[0, cuts[0]], cuts, [cuts[1], 8]]
            if source.random() < 0.7:
                source.choice(places)[source.randrange(2)] = source.randrange(9)
            header = json.dumps({str(i): {"dtype": "U8", "shape": [abs(end - begin)],
                                          "data_offsets": [begin, end]}
                                 for i, (begin, end) in enumerate(places)}).encode()
            return struct.pack("<Q", len(header)) + header + bytes(8)

        files = []
        for number in range(3000):
            content = good if number == 0 else mutated() if number % 2 else tiled()
            files.append((self.folder / str(number), content))
            files[-1][0].write_bytes(files[-1][1])
        ours = tool("check", *(path for path, _ in files))
        self.assertEqual(len(ours), len(files))
        accepted = 0
        for (_, content), mine in zip(files, ours):
            if mine is not None:
                accepted += 1
                theirs = sorted((name, tensor["shape"], len(tensor["data"]))
                                for name, tensor in safetensors.deserialize(content))
                self.assertEqual([(name, shape, size) for name, _, shape, size in mine], theirs)
        self.assertIsNotNone(ours[0])
        self.assertGreater(accepted, 200)
        self.assertLess(accepted, 2000)


if __name__ == "__main__":
    unittest.main()
