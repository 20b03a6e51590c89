#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/watch/node_memory.h"
#include "collectives/watch/operation.h"

namespace enodia {

/// The stretches of a run that have a timeout of their own.
enum class RunSection : uint8_t { kStart, kFirstStep, kStep, kSave, kEval, kEnd };
constexpr size_t kNumRunSections = 6;

/// "start", "first step", "step", "save", "eval", "end".
constexpr std::string_view name_of(RunSection section) {
  constexpr std::array<std::string_view, kNumRunSections> kNames{
      "start", "first step", "step", "save", "eval", "end"};
  return kNames[static_cast<size_t>(section)];
}

/// What the board says of a rank. Written while others read: the fields may be an operation apart.
struct RankStatus {
  int rank = -1;    ///< in the world; -1 = that rank cannot be seen from here
  int process = 0;  ///< process id
  RunSection section = RunSection::kStart;
  int64_t step = 0;  ///< from 1; 0 = not in a step
  uint64_t signs_of_life = 0;
  /// Of each traffic; sequence 0 = none so far.
  std::array<Operation, kAllTraffic.size()> started, finished;
  std::optional<Operation> waiting;  ///< for this one the rank's main thread waits now
};

/// Where each rank of a node says what it does, in memory that the node's ranks share, so that a
/// watchdog can see what ranks that hang are doing without any message. Writing costs a few stores.
///
/// One thread of a rank writes; any thread of any rank of the node reads.
class StatusBoard {
 public:
  /// Collective over the world.
  explicit StatusBoard(Communicator& world);

  void enter(RunSection section, int64_t step = 0);
  /// A sign of life from work without communication. All other writes are signs of life too.
  void beat();
  void start(const Operation& operation);
  void wait_for(const Operation& operation);
  void go_on();
  void finish(const Operation& operation);

  int world_size() const { return static_cast<int>(nodes_.size()); }
  /// Which node each rank of the world lives on.
  const std::vector<int>& nodes() const { return nodes_; }
  /// Ranks of this node, by slot.
  int num_slots() const { return num_slots_; }
  int own_slot() const { return own_slot_; }
  RankStatus read(int slot) const;

  /// True for the first rank of the node that asks: it speaks for all of them.
  bool claim_report();
  bool report_is_claimed() const;
  /// Counts the ranks of the node that have said all they had to say.
  void add_speaker();
  int num_speakers() const;

 private:
  struct Header;
  struct Slot;

  Header& header() const;
  Slot& slot(int index) const;

  std::vector<int> nodes_;
  int num_slots_ = 0;
  int own_slot_ = 0;
  NodeMemory memory_;
};

}  // namespace enodia
