#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace enodia {

/// Names in the folder of checkpoints. Only entries of exactly these names are ever touched:
///   step_N          a checkpoint; whole, since it appears by rename
///   step_N.tmp      being written, or left by a crash
///   step_N.old      the former step_N while a new one takes its place; whole
///   step_N.broken   a step_N that could not be read when its step was saved again; never deleted
///   .trash-step_N   being deleted, or left by a crash
std::string step_folder_name(int64_t step);

/// The N of "step_N", strictly: decimal, no sign, no leading zeros.
std::optional<int64_t> step_of_folder(std::string_view name);

/// Why `path` is not the whole checkpoint of this step (manifest and file sizes), or nothing.
std::string checkpoint_fault(const std::filesystem::path& path, int64_t step);

struct FoundCheckpoint {
  std::optional<std::filesystem::path> path;
  std::vector<std::string> skipped;  ///< a sentence for each newer one that is broken
};

/// Local. The newest step_N, of those before step `below` when that is given, whose manifest is
/// valid and whose files have the right sizes. Changes nothing. A missing folder holds none. Throws
/// FileError when the folder cannot be listed.
FoundCheckpoint newest_checkpoint(const std::filesystem::path& folder,
                                  std::optional<int64_t> below = std::nullopt);

/// Call on one rank, after a commit. Deletes whole checkpoints older than the newest `keep` >= 1
/// whole ones, and what crashes left (.tmp, .old, .trash). Broken checkpoints, those with a file
/// that is not in their manifest, and everything of another name stay. Returns a sentence for each
/// thing that could not be deleted or was left alone; throws FileError only when the folder cannot
/// be listed.
std::vector<std::string> remove_old(const std::filesystem::path& folder, int64_t keep);

}  // namespace enodia
