"""What `enodia train` leaves behind for those who watch a run."""

import importlib.util
import shutil
import struct
import sys
import unittest

import tensorboard_events
from program_testing import ProgramTest

NOT_RUN = 77  # ctest's SKIP_RETURN_CODE

TAGS = {"loss/train": "loss", "loss/aux": "aux_loss", "loss/z": "z_loss", "grad_norm": "grad_norm",
        "lr": "lr", "step_ms": "step_ms", "tokens_per_s": "tokens_per_s",
        "tflops": "tflops", "mfu": "mfu"}
LOADS = ("max_violation", "dead", "hot", "entropy")
ROUNDING = 0.5e-4  # loads have four decimals in metrics.jsonl


def float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def scalars(record):
    """{tag: (value, tolerance)} that a line of metrics.jsonl implies."""
    values = {tag: (float32(record[name]), 0) for tag, name in TAGS.items()}
    for kind in ("expert", "rank"):
        values["imbalance/" + kind] = (float32(record["imbalance"][kind]), 0)
    if "valid_loss" in record:
        values["loss/held_out"] = (float32(record["valid_loss"]), 0)
    load = record.get("load", {"layer": []})
    for place, layer in enumerate(load["layer"]):
        for name in LOADS:
            values[f"load/layer_{layer}/{name}"] = (load[name][place], 1.01 * ROUNDING)
    return values


class WatchedRun(ProgramTest):
    """A run of 7 steps that lost its last checkpoint and goes on from step 3 with another learning
    rate: what the first attempt wrote of steps 4 to 7 is void."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        values = dict(checkpoint__interval=3, optim__decay_samples=240, checkpoint__keep=9,
                      data__valid="bytes/valid", train__eval_interval=2)
        cls.attempt("run", train__steps=7, **values)
        cls.void = cls.curves("run")
        for step in (6, 7):
            shutil.rmtree(cls.folder / f"run/checkpoints/step_{step}")
        result = cls.attempt("run", train__steps=9, optim__lr=1e-3, **values)
        if "after step 3" not in result.err:
            raise AssertionError(f"did not resume from step 3: {result}")

    @classmethod
    def attempt(cls, name, **values):
        result = cls.start(*cls.train_arguments(name, **values), ranks=2)
        if result.code != 0:
            raise AssertionError(f"cannot train: {result}")
        return result

    @classmethod
    def curves(cls, name):
        return tensorboard_events.curves(cls.folder / name / "tensorboard")

    def assert_curves_are_those_of_metrics(self, curves):
        """`curves` is {tag: {step: value}}. Nothing is missing, nothing is added."""
        expected = {}
        for record in self.metrics("run"):
            for tag, value in scalars(record).items():
                expected.setdefault(tag, {})[record["step"]] = value
        self.assertEqual(sorted(expected["loss/train"]), list(range(1, 10)))
        self.assertEqual(sorted(expected["loss/held_out"]), [2, 4, 6, 8, 9])
        self.assertEqual({tag: sorted(curve) for tag, curve in curves.items()},
                         {tag: sorted(curve) for tag, curve in expected.items()})
        compared = 0
        for tag, curve in expected.items():
            for step, (value, tolerance) in curve.items():
                self.assertLessEqual(abs(curves[tag][step] - value), tolerance, f"{tag} at {step}")
                compared += 1
        print(f"{compared} values of {len(expected)} tags are those of metrics.jsonl")


class Watching(WatchedRun):
    def test_events_are_sound_and_say_what_metrics_say(self):
        curves = self.curves("run")
        self.assert_curves_are_those_of_metrics(curves)
        self.assertNotEqual(curves["loss/train"][7], self.void["loss/train"][7])
        self.assertEqual(curves["loss/train"][3], self.void["loss/train"][3])
        self.assertEqual(curves["load/layer_1/entropy"].keys(), curves["loss/train"].keys())

    def test_a_finished_run_begins_no_file(self):
        folder = self.folder / "run/tensorboard"
        self.assertEqual(len(list(folder.iterdir())), 2)
        self.train("run", train__steps=9, optim__decay_samples=240)
        self.assertEqual(len(list(folder.iterdir())), 2)

    def test_can_be_switched_off(self):
        self.train("off", train__steps=2, run__tensorboard="false")
        self.assertEqual(sorted(path.name for path in (self.folder / "off").iterdir()),
                         ["checkpoints", "config.yaml", "lock", "memory_forecast.json",
                          "metrics.jsonl"])
        self.assertEqual(len(self.metrics("off")), 2)


class TensorBoardReader(WatchedRun):
    """TensorBoard's own reader, where Python has it."""

    def test_accepts_the_files_and_shows_the_same_curves(self):
        from tensorboard.backend.event_processing import event_accumulator

        reader = event_accumulator.EventAccumulator(str(self.folder / "run/tensorboard"),
                                                    size_guidance={"scalars": 0})
        reader.Reload()
        self.assertEqual(reader.file_version, 2.0)
        self.assert_curves_are_those_of_metrics({
            tag: {event.step: event.value for event in reader.Scalars(tag)}
            for tag in reader.Tags()["scalars"]})


if __name__ == "__main__":
    if sys.argv[1:] == ["TensorBoardReader"] and not importlib.util.find_spec("tensorboard"):
        print("not run: this Python has no module tensorboard (pip install tensorboard)")
        sys.exit(NOT_RUN)
    unittest.main(verbosity=2)
