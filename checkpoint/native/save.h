#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/native/commit.h"
#include "checkpoint/shard.h"
#include "collectives/communicator.h"
#include "common/json.h"

namespace enodia {

/// A small file kept beside the tensors: a tokenizer, the resolved configuration.
struct Attachment {
  std::string name;  ///< letters, digits, '_', '-' and '.', not at the start
  std::string content;
};

struct SaveOptions {
  /// Called on each rank when it reaches a named point of the save; tests stop a rank there.
  /// In order: "begin", "folder_made", "box_written" (once for each), "before_flush",
  /// "shard_written"; then on rank 0: "before_manifest", "before_rename", "between_renames",
  /// "after_rename".
  ReachedPoint reached = [](std::string_view) {};
};

/// Collective. Saves a state as the folder `folder`/step_N, which appears by rename once all of it
/// is on the disk; a crash at any moment leaves the former checkpoints as they were. Each rank
/// gives the boxes it holds; together they must hold every element of every tensor exactly once, so
/// of replicas one rank gives its own. `document` (a JSON object, read back exactly) and
/// `attachments` are taken from rank 0. `folder` lies on a file system that all ranks share.
///
/// When anything fails on any rank, every rank throws the same FileError naming the first such rank
/// and the reason, and nothing is committed (unless the sentence says so). A step that was already
/// saved is replaced. Equal states saved by equally many ranks give equal bytes. Returns warnings,
/// on rank 0.
std::vector<std::string> save_checkpoint(Communicator& communicator,
                                         const std::filesystem::path& folder,
                                         int64_t step,
                                         std::span<const Shard> shards,
                                         const Json& document,
                                         std::span<const Attachment> attachments,
                                         const SaveOptions& options = {});

}  // namespace enodia
