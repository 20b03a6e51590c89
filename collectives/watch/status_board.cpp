#include "collectives/watch/status_board.h"

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "common/log.h"

#include <unistd.h>

namespace enodia {
namespace {

using Cell = std::atomic<int64_t>;
static_assert(Cell::is_always_lock_free, "cells are shared between processes");

constexpr auto kRelaxed = std::memory_order_relaxed;

}  // namespace

// Zeroed memory is a valid state of both: nobody is here yet.
struct alignas(64) StatusBoard::Header {
  Cell claimed, speakers;
};

struct alignas(64) StatusBoard::Slot {
  struct OfOperation {
    Cell traffic, kind, sequence, bytes;

    void store(const Operation& operation) {
      traffic.store(static_cast<int64_t>(operation.traffic), kRelaxed);
      kind.store(static_cast<int64_t>(operation.kind), kRelaxed);
      sequence.store(operation.sequence, kRelaxed);
      bytes.store(operation.bytes, kRelaxed);
    }
    Operation load() const {
      return {static_cast<Traffic>(traffic.load(kRelaxed)),
              static_cast<OperationKind>(kind.load(kRelaxed)),
              sequence.load(kRelaxed),
              bytes.load(kRelaxed)};
    }
  };

  Cell rank_plus_one, process, section, step, signs_of_life, waits;
  std::array<OfOperation, kAllTraffic.size()> started, finished;
  OfOperation waiting;

  /// One thread writes, so no read-modify-write is needed. The last store of each change: who sees
  /// it sees what was written before.
  void sign() { signs_of_life.store(signs_of_life.load(kRelaxed) + 1, std::memory_order_release); }
};

StatusBoard::StatusBoard(Communicator& world)
    : nodes_(world.nodes().begin(), world.nodes().end()),
      num_slots_(static_cast<int>(std::count(nodes_.begin(), nodes_.end(), nodes_[world.rank()]))),
      own_slot_(static_cast<int>(
          std::count(nodes_.begin(), nodes_.begin() + world.rank(), nodes_[world.rank()]))),
      memory_(world, sizeof(Header) + static_cast<size_t>(num_slots_) * sizeof(Slot)) {
  if (!memory_.why_alone().empty()) {
    log_warning("the watchdog cannot see the other ranks of this node, only its own (" +
                memory_.why_alone() + "); do the ranks run in containers of their own?");
  }
  Slot& own = slot(own_slot_);
  own.process.store(::getpid(), kRelaxed);
  own.rank_plus_one.store(world.rank() + 1, kRelaxed);
  own.sign();
}

StatusBoard::Header& StatusBoard::header() const {
  return *static_cast<Header*>(memory_.data());
}

StatusBoard::Slot& StatusBoard::slot(int index) const {
  auto* slots = reinterpret_cast<Slot*>(static_cast<std::byte*>(memory_.data()) + sizeof(Header));
  return slots[index];
}

void StatusBoard::enter(RunSection section, int64_t step) {
  Slot& own = slot(own_slot_);
  own.section.store(static_cast<int64_t>(section), kRelaxed);
  own.step.store(step, kRelaxed);
  own.sign();
}

void StatusBoard::beat() {
  slot(own_slot_).sign();
}

void StatusBoard::start(const Operation& operation) {
  Slot& own = slot(own_slot_);
  own.started[static_cast<size_t>(operation.traffic)].store(operation);
  own.sign();
}

void StatusBoard::wait_for(const Operation& operation) {
  Slot& own = slot(own_slot_);
  own.waiting.store(operation);
  own.waits.store(1, kRelaxed);
  own.sign();
}

void StatusBoard::go_on() {
  Slot& own = slot(own_slot_);
  own.waits.store(0, kRelaxed);
  own.sign();
}

void StatusBoard::finish(const Operation& operation) {
  Slot& own = slot(own_slot_);
  own.finished[static_cast<size_t>(operation.traffic)].store(operation);
  own.sign();
}

RankStatus StatusBoard::read(int index) const {
  const Slot& from = slot(index);
  RankStatus status;
  status.signs_of_life = static_cast<uint64_t>(from.signs_of_life.load(std::memory_order_acquire));
  status.rank = static_cast<int>(from.rank_plus_one.load(kRelaxed)) - 1;
  status.process = static_cast<int>(from.process.load(kRelaxed));
  status.section = static_cast<RunSection>(from.section.load(kRelaxed));
  status.step = from.step.load(kRelaxed);
  for (size_t i = 0; i < kAllTraffic.size(); ++i) {
    status.started[i] = from.started[i].load();
    status.finished[i] = from.finished[i].load();
  }
  if (from.waits.load(kRelaxed) != 0) {
    status.waiting = from.waiting.load();
  }
  return status;
}

bool StatusBoard::claim_report() {
  return header().claimed.exchange(1) == 0;
}

bool StatusBoard::report_is_claimed() const {
  return header().claimed.load() != 0;
}

void StatusBoard::add_speaker() {
  header().speakers.fetch_add(1);
}

int StatusBoard::num_speakers() const {
  return static_cast<int>(header().speakers.load());
}

}  // namespace enodia
