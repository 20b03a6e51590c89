#include "checkpoint/native/commit.h"

#include <algorithm>
#include <iterator>

#include "checkpoint/native/checkpoint.h"
#include "checkpoint/native/folders.h"
#include "common/error.h"
#include "common/file.h"

namespace enodia {
namespace fs = std::filesystem;
namespace {

void rename_folder(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) {
    throw FileError("cannot rename " + from.string() + " to " + to.string() + ": " +
                    error.message());
  }
}

/// step_N.broken, or with a number after it when that exists.
fs::path free_broken_name(const fs::path& path) {
  fs::path candidate = path.string() + ".broken";
  for (int number = 2; is_taken(candidate); ++number) {
    candidate = path.string() + ".broken-" + std::to_string(number);
  }
  return candidate;
}

/// The name of a file in a whole checkpoint that its manifest does not list, or nothing.
std::string stray_file(const fs::path& path) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  std::vector<std::string> known{"manifest.json"};
  for (const auto& files : {checkpoint.files(), checkpoint.attachments()}) {
    std::transform(files.begin(), files.end(), std::back_inserter(known), [](const auto& file) {
      return file.name;
    });
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename().string();
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return name;
    }
  }
  return "";
}

}  // namespace

bool is_taken(const fs::path& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::symlink_status(path, error).type() == fs::file_type::directory;
}

void check_writable(const fs::path& folder) {
  const std::string remedy = "; choose another run.dir or make room and permissions for it";
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    throw FileError("cannot create the folder of checkpoints " + folder.string() + ": " +
                    error.message() + remedy);
  }
  try {
    const fs::path probe = folder / ".write-test";
    write_file_atomically(probe, "x");
    fs::remove(probe);
  } catch (const std::exception& failure) {
    throw FileError("checkpoints cannot be saved in " + folder.string() + ": " + failure.what() +
                    remedy);
  }
}

std::vector<std::string> commit_step(const fs::path& folder,
                                     int64_t step,
                                     const ReachedPoint& reached) {
  const fs::path target = folder / step_folder_name(step);
  const fs::path fresh = target.string() + ".tmp";
  const fs::path old = target.string() + ".old";
  std::vector<std::string> warnings;
  if (is_taken(target)) {
    const std::string fault = checkpoint_fault(target, step);
    if (fault.empty()) {
      if (is_taken(old)) {
        discard(old, step);
      }
      rename_folder(target, old);
    } else {
      const fs::path aside = free_broken_name(target);
      rename_folder(target, aside);
      warnings.push_back(fault + "; it was moved to " + aside.string());
    }
  }
  try {
    reached("between_renames");
    rename_folder(fresh, target);
  } catch (...) {
    std::error_code ignored;
    fs::rename(old, target, ignored);  // does nothing when there was no former one
    throw;
  }
  sync_folder(folder);
  reached("after_rename");
  if (is_taken(old)) {
    try {
      discard_checkpoint(old, step);
    } catch (const std::exception& failure) {
      warnings.emplace_back(failure.what());  // the new one is in place all the same
    }
  }
  return warnings;
}

void discard(const fs::path& path, int64_t step) {
  if (!is_folder(path)) {
    throw FileError(path.string() + " is in the way: it is not a folder; move it elsewhere");
  }
  const fs::path trash = path.parent_path() / (".trash-" + step_folder_name(step));
  std::error_code error;
  if (path != trash) {
    fs::remove_all(trash, error);
    rename_folder(path, trash);
  }
  fs::remove_all(trash, error);
  if (error) {
    throw FileError("cannot delete " + trash.string() + ": " + error.message());
  }
}

void discard_checkpoint(const fs::path& path, int64_t step) {
  const std::string stray = stray_file(path);
  if (!stray.empty()) {
    throw FileError("kept " + path.string() + ": '" + stray +
                    "' in it is not part of the checkpoint");
  }
  discard(path, step);
}

}  // namespace enodia
