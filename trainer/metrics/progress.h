#pragma once

#include <cstdint>
#include <string>

#include "trainer/metrics/step_record.h"

namespace enodia {

/// Shows on stdout how a run goes; rank 0 only. On a terminal one line is rewritten every step,
/// with the time left, and every log_interval steps it stays; in a log there are only the lines
/// that stay.
class Progress {
 public:
  Progress(int64_t num_steps, int64_t log_interval, bool terminal)
      : num_steps_(num_steps),
        log_interval_(log_interval),
        terminal_(terminal) {}
  void show(const StepRecord& record);
  /// On a terminal, how far an evaluation is; the line of its step will take its place.
  void show_evaluation(int64_t done, int64_t total);

 private:
  int64_t num_steps_, log_interval_;
  bool terminal_;
};

/// Rewrites the line of a terminal: "evaluating 12/300 micro-batches".
void rewrite_evaluation_line(int64_t done, int64_t total);
/// Empties it for what comes next.
void erase_line();

/// Whether a person watches. Under mpirun a rank's stdout always looks like a terminal, so the
/// launcher says it (ENODIA_TERMINAL=1); without a launcher the system is asked.
bool watched_by_a_person(bool launched_by_mpi);

}  // namespace enodia
