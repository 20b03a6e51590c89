"""What a run tells about itself: its trace, its use of the machine, its memory."""

import json
import unittest

from program_testing import ProgramTest

TRACKS = ("compute", "waiting", "communication")


def spans_of(events, rank, track):
    """Spans of each thread of a rank that belongs to a track: "communication 2" does too."""
    threads = {event["tid"] for event in events
               if event["name"] == "thread_name" and event["pid"] == rank
               and event["args"]["name"].split(" ")[0] == track}
    return [[event for event in events
             if event["ph"] == "X" and event["pid"] == rank and event["tid"] == thread]
            for thread in sorted(threads)]


def nanoseconds(event):
    """Start and end in whole nanoseconds, as the clock counted them."""
    start = round(event["ts"] * 1000)
    return start, start + round(event["dur"] * 1000)


def common_time(moves, spans):
    """Nanoseconds of moves, which may overlap, in which some span goes on, too."""
    common = 0
    for first, last in map(nanoseconds, moves):
        reached = first
        for start, end in sorted(map(nanoseconds, spans)):
            start, end = max(start, reached), min(end, last)
            common += max(0, end - start)
            reached = max(reached, end)
    return common


def started_in(moves, compute, prefix, suffix):
    """How many moves begin in phases of such names."""
    phases = [nanoseconds(span) for span in compute
              if span["name"].startswith(prefix) and span["name"].endswith(suffix)]
    return sum(start <= nanoseconds(move)[0] < end for move in moves for start, end in phases)


class Profiled(ProgramTest):

    def load_trace(self, name):
        text = (self.folder / name).read_text(encoding="utf-8")
        return json.loads(text, parse_constant=lambda word: self.fail(f"{word} is not JSON"))

    def assert_well_formed(self, trace, ranks):
        """As the Trace Event Format and its viewers want it."""
        events = trace["traceEvents"]
        self.assertEqual({event["pid"] for event in events}, set(range(ranks)))
        names = {event["pid"]: event["args"]["name"] for event in events
                 if event["name"] == "process_name"}
        for rank in range(ranks):
            self.assertRegex(names[rank], rf"^rank {rank} on \S+$")
        named = {(event["pid"], event["tid"]): event["args"]["name"] for event in events
                 if event["name"] == "thread_name"}
        for event in events:
            self.assertIn(event["ph"], ("M", "X"))
            self.assertIsInstance(event["tid"], int)
            if event["ph"] == "X":
                self.assertIn(named[event["pid"], event["tid"]].split(" ")[0], TRACKS)
                self.assertGreaterEqual(event["ts"], 0)
                self.assertGreaterEqual(event["dur"], 0)
                self.assertTrue(event["name"])

    def assert_nested(self, spans):
        """The spans of a thread nest or do not overlap."""
        open_ends = []
        for start, end in sorted(map(nanoseconds, spans), key=lambda span: (span[0], -span[1])):
            while open_ends and open_ends[-1] <= start:
                open_ends.pop()
            if open_ends:
                self.assertLessEqual(end, open_ends[-1])
            open_ends.append(end)

    def assert_apart(self, spans):
        """An operation is not part of another one: those under way together have own threads."""
        times = sorted(map(nanoseconds, spans))
        for (_, end), (start, _) in zip(times, times[1:]):
            self.assertLessEqual(end, start)

    def assert_waits_lie_in_steps(self, waiting, compute):
        """Token exchange is waited for inside the phases that need it."""
        dispatches = [nanoseconds(span) for span in compute if " dispatch " in span["name"]]
        waits = [nanoseconds(span) for span in waiting if span["name"].startswith("tokens ")]
        self.assertGreater(len(waits), 0)
        for first, last in dispatches:
            self.assertTrue(any(first <= start and end <= last for start, end in waits))
        self.assertTrue(all(span["args"]["bytes"] >= 0 for span in waiting))

    def test_a_trace_shows_the_wanted_steps_of_all_ranks(self):
        self.train("traced", ranks=2, run__progress="thread", trace__first_step=2, trace__steps=2, checkpoint__interval=3,
                   data__valid="bytes/valid", train__eval_interval=2)
        self.train("plain", ranks=2, run__progress="inline", checkpoint__interval=3, data__valid="bytes/valid",
                   train__eval_interval=2)
        self.assert_same_run("traced", "plain")
        self.assertEqual([path.name for path in (self.folder / "plain").glob("trace*")], [])

        trace = self.load_trace("traced/trace-step_2.json")
        self.assert_well_formed(trace, ranks=2)
        about = trace["otherData"]
        self.assertEqual((about["first_step"], about["last_step"], about["ranks"]), (2, 3, 2))
        self.assertGreater(about["largest_clock_error_us"], 0)
        for rank in range(2):
            for track in TRACKS:
                for spans in spans_of(trace["traceEvents"], rank, track):
                    self.assert_nested(spans)
            compute, = spans_of(trace["traceEvents"], rank, "compute")
            self.assert_steps_covered(compute)
            waiting, = spans_of(trace["traceEvents"], rank, "waiting")
            self.assert_waits_lie_in_steps(waiting, compute)
            communication = spans_of(trace["traceEvents"], rank, "communication")
            self.assertGreater(len(communication), 0)
            for spans in communication:
                self.assert_apart(spans)

    def assert_steps_covered(self, compute):
        """Two steps of 6 micro-batches a rank through 2 layers, with what lies between them."""
        names = [span["name"] for span in sorted(compute, key=nanoseconds)]
        steps = [span for span in compute if span["name"].startswith("step ")]
        self.assertEqual([span["name"] for span in steps], ["step 2", "step 3"])
        self.assertEqual(names.count("evaluate"), 1)
        self.assertEqual(names.count("save"), 1)
        self.assertLess(names.index("evaluate"), names.index("step 3"))
        self.assertLess(names.index("step 3"), names.index("save"))
        for step in steps:
            first, last = nanoseconds(step)
            inside = [span for span in compute
                      if first <= nanoseconds(span)[0] and nanoseconds(span)[1] <= last]
            for phase in ("head forward", "layer 0 attention backward", "layer 1 gate forward",
                          "layer 1 experts forward", "layer 0 combine backward"):
                self.assertEqual([span["args"]["micro_batch"] for span in inside
                                  if span["name"] == phase], list(range(6)), phase)
            for once in ("load data", "reduce gradients and losses", "optimizer"):
                self.assertEqual(sum(span["name"] == once for span in inside), 1, once)

    def test_replicas_travel_under_compute(self):
        self.train("hidden", ranks=2, train__steps=16, run__progress="thread", model__num_experts=8,
                   model__hidden_size=128, model__moe_intermediate_size=256,
                   model__num_hidden_layers=4, router__forced_skew=1.5, router__aux_loss_coef=0,
                   placement__policy="enodia", trace__first_step=4, trace__steps=12)
        events = self.load_trace("hidden/trace-step_4.json")["traceEvents"]
        started = {"below": 0, "last": 0}  # a busy machine starts some later
        for rank in range(2):
            compute, = spans_of(events, rank, "compute")
            waiting, = spans_of(events, rank, "waiting")
            moves = [span for spans in spans_of(events, rank, "communication") for span in spans
                     if span["name"].startswith("replicas")]
            under_way = sum(end - start for start, end in map(nanoseconds, moves))
            self.assertGreater(len(moves), 10)
            # Beside what a layer does, not after it, and hardly ever waited for.
            layers = [span for span in compute if span["name"].startswith("layer ")]
            self.assertGreater(common_time(moves, layers), 0.5 * under_way)
            # Those of the last layer leave while the layer below computes.
            for layer, which in ((2, "below"), (3, "last")):
                started[which] += started_in(moves, compute, f"layer {layer} ", " forward")
            waits = [span for span in waiting if span["name"].startswith("replicas")]
            self.assertLess(common_time(moves, waits), 0.5 * under_way)
        self.assertGreater(started["below"], 2 * started["last"])

    def test_a_trace_that_cannot_be_written_stops_nothing(self):
        (self.folder / "blocked/trace-step_6.json").mkdir(parents=True)
        result = self.train("blocked", trace__first_step=6)
        self.assertIn("no trace: ", result.err)
        self.assertEqual(len(self.metrics("blocked")), 6)

    def test_steps_that_are_not_done_are_not_traced_and_that_is_said(self):
        result = self.train("late", train__steps=2, trace__first_step=3)
        self.assertIn("trace.first_step (3)", result.err)
        self.assertEqual(list((self.folder / "late").glob("trace*")), [])

    def test_utilization_is_of_the_same_operations_on_any_number_of_ranks(self):
        self.train("one", run__peak_tflops=0.5, train__steps=2)
        self.train("two", ranks=2, run__peak_tflops=0.5, train__steps=2)
        batch, length = 24, 64
        attention = 64 * (2 + 2 * 1) * 32 + 2 * 32 * 64
        weights = 2 * (attention + 64 * 4 + 2 * 3 * 64 * 64) + 64 * 257
        smallest = 6 * weights * batch * length
        largest = smallest + 12 * 2 * (2 * 32) * batch * length * (length + 1) / 2
        for one, two in zip(self.metrics("one"), self.metrics("two")):
            self.assertEqual((one["peak_tflops"], two["peak_tflops"]), (0.5, 1.0))
            operations = [step["tflops"] * step["step_ms"] * 1e9 for step in (one, two)]
            self.assertAlmostEqual(operations[0] / operations[1], 1, places=9)
            self.assertGreater(operations[0], smallest)  # some tokens see others
            self.assertLessEqual(operations[0], largest * (1 + 1e-12))  # printed and read again
            self.assertAlmostEqual(two["mfu"], two["tflops"])
            self.assertAlmostEqual(one["mfu"], one["tflops"] / 0.5)

    def test_memory_is_counted_and_does_not_grow(self):
        result = self.train("long", train__steps=50)
        self.assertIn("measured", result.err)
        steps = [step["memory_bytes"] for step in self.metrics("long")]
        masters = [tensor["shape"] for name, tensor in self.inspect("long")["tensors"].items()
                   if name.startswith("master/")]
        parameters = 0
        for shape in masters:
            size = 4
            for extent in shape:
                size *= extent
            parameters += size
        first = steps[0]
        self.assertGreaterEqual(first["parameters"], parameters)
        self.assertLess(first["parameters"], parameters + 256 * len(masters))  # of alignment
        self.assertEqual(first["gradients"], first["parameters"])
        self.assertEqual(first["optimizer"], 2 * first["parameters"])
        self.assertEqual(first["replicas"], 0)
        self.assertGreater(first["activations"], 0)
        for step in steps:
            for kind in ("parameters", "gradients", "optimizer", "replicas", "data", "after_step"):
                self.assertEqual(step[kind], steps[1][kind], kind)
            held = step["parameters"] + step["gradients"] + step["optimizer"]
            self.assertEqual(step["after_step"], held)
            self.assertGreater(step["peak_total"], held)
            self.assertLessEqual(step["peak_total"], held + step["data"] + step["activations"])
            self.assertEqual(step["peak_total_max"], step["peak_total"])
            self.assertGreaterEqual(step["resident_peak"], step["resident"])
            self.assertGreater(step["resident"], step["after_step"])

    def test_replicas_are_counted_apart(self):
        self.train("replicas", ranks=2, parallel__ep=1, train__steps=2)
        self.train("owners", ranks=2, train__steps=2, placement__policy="owners")
        replicas, owners = (self.metrics(name)[1]["memory_bytes"] for name in ("replicas", "owners"))
        for kind in ("parameters", "gradients", "optimizer"):
            self.assertEqual(replicas[kind], owners[kind], kind)
        # Each rank owns 2 of a layer's 4 experts and holds the other 2: weights and gradients.
        self.assertEqual(replicas["replicas"], 2 * 2 * 2 * 3 * 64 * 64 * 4)
        self.assertEqual(owners["replicas"], 0)
        self.assertGreaterEqual(owners["peak_total_max"], owners["peak_total"])


if __name__ == "__main__":
    unittest.main()
