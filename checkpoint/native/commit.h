#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace enodia {

/// Creates the folder when missing, then writes and removes a file in it. Throws FileError that
/// says what to change. Call on one rank, before training starts.
void check_writable(const std::filesystem::path& folder);

/// Tells a test where the work stands: see save.h.
using ReachedPoint = std::function<void(std::string_view point)>;

/// Renames step_N.tmp, complete and flushed, to step_N: the commit. A whole step_N is first renamed
/// to step_N.old; a broken one becomes step_N.broken and is kept. Reaches "between_renames". Throws
/// FileError; then a former whole step_N is in its place again. Returns warnings.
std::vector<std::string> put_in_place(const std::filesystem::path& folder,
                                      int64_t step,
                                      const ReachedPoint& reached);

/// Deletes step_N.old after put_in_place. Returns a warning when that fails.
std::vector<std::string> discard_former(const std::filesystem::path& folder, int64_t step);

/// True when there is anything of this name, a dangling link too.
bool is_taken(const std::filesystem::path& path);

/// True for a folder itself, not a link to one.
bool is_folder(const std::filesystem::path& path);

/// Deletes a folder of ours by way of .trash-step_N, so that a crash leaves nothing that looks like
/// a checkpoint. Throws FileError.
void discard(const std::filesystem::path& path, int64_t step);

/// The same for a whole checkpoint; refuses when it holds a file that its manifest does not list.
void discard_checkpoint(const std::filesystem::path& path, int64_t step);

}  // namespace enodia
