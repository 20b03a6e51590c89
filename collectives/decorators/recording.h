#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>

#include "collectives/communicator.h"
#include "collectives/traffic.h"
#include "collectives/watch/status_board.h"
#include "common/trace.h"

namespace enodia {

/// What one rank did for one traffic. Messages to oneself are no bytes. A reduction counts as one
/// operation that sends and receives its buffer once, whatever algorithm carries it out.
struct TrafficCounts {
  int64_t operations = 0;
  int64_t bytes_sent = 0;
  int64_t bytes_received = 0;
  int64_t exposed_ns = 0;  ///< that the calling thread spent inside operations and Work::wait

  TrafficCounts operator-(const TrafficCounts& before) const;
};

/// A value: differences of two say what happened in between.
struct CommunicationCounts {
  std::array<TrafficCounts, kAllTraffic.size()> traffic;

  const TrafficCounts& operator[](Traffic which) const {
    return traffic[static_cast<size_t>(which)];
  }
  CommunicationCounts operator-(const CommunicationCounts& before) const;
  int64_t exposed_ns() const;  ///< of all traffic
};

/// Counts what a rank's communicators do, draws the time waited on the trace (track kWaiting, named
/// like the operation) and writes each operation on the status board. Used by one thread, the one
/// that calls the communicators. Must outlive them and their Works.
class Recorder {
 public:
  /// Both may be null.
  explicit Recorder(Trace* trace = nullptr, StatusBoard* board = nullptr)
      : trace_(trace),
        board_(board) {}

  /// A communicator with the same ranks whose operations are recorded. Local.
  std::unique_ptr<Communicator> record(std::unique_ptr<Communicator> inner, Traffic traffic);
  /// `record` for ProcessMesh.
  auto decorator() {
    return [this](std::unique_ptr<Communicator> inner, Traffic traffic) {
      return record(std::move(inner), traffic);
    };
  }

  const CommunicationCounts& counts() const { return counts_; }

  /// The next operation of this traffic is not carried out, as if the rank had forgotten it: a
  /// rehearsal of what happens then.
  void leave_out_next(Traffic traffic) { left_out_[static_cast<size_t>(traffic)] = true; }

 private:
  friend class RecordedCommunicator;
  friend class RecordedOperation;
  class Wait;

  TrafficCounts& of(Traffic traffic) { return counts_.traffic[static_cast<size_t>(traffic)]; }
  bool leaves_out(Traffic traffic);

  Trace* trace_;
  StatusBoard* board_;
  CommunicationCounts counts_;
  std::array<bool, kAllTraffic.size()> left_out_{};
};

}  // namespace enodia
