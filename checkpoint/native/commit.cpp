#include "checkpoint/native/commit.h"

#include <set>

#include "checkpoint/native/checkpoint.h"
#include "checkpoint/native/folders.h"
#include "common/error.h"

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

/// Moves something that must not be deleted out of the way, to PATH.broken or PATH.broken-2 ...
fs::path set_aside(const fs::path& path) {
  fs::path aside = path.string() + ".broken";
  for (int number = 2; is_taken(aside); ++number) {
    aside = path.string() + ".broken-" + std::to_string(number);
  }
  rename_folder(path, aside);
  return aside;
}

/// The name of a file in a whole checkpoint that its manifest does not list, or nothing.
std::string stray_file(const fs::path& path) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  std::set<std::string> known{"manifest.json"};
  for (const auto& files : {checkpoint.files(), checkpoint.attachments()}) {
    for (const StoredFile& file : files) {
      known.insert(file.name);
    }
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename().string();
    if (!known.contains(name)) {
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

std::vector<std::string> put_in_place(const fs::path& folder,
                                      int64_t step,
                                      const ReachedPoint& reached) {
  const fs::path target = folder / step_folder_name(step);
  const fs::path fresh = target.string() + ".tmp";
  const fs::path old = target.string() + ".old";
  std::vector<std::string> warnings;
  if (is_taken(target)) {
    const std::string fault = checkpoint_fault(target, step);
    if (!fault.empty()) {
      warnings.push_back(fault + "; it was moved to " + set_aside(target).string());
    } else {
      if (is_taken(old) && !discard_former(folder, step).empty()) {
        warnings.push_back(old.string() + " was moved to " + set_aside(old).string());
      }
      rename_folder(target, old);
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
  return warnings;
}

std::vector<std::string> discard_former(const fs::path& folder, int64_t step) {
  const fs::path old = folder / (step_folder_name(step) + ".old");
  std::vector<std::string> warnings;
  if (is_taken(old)) {
    try {
      discard_checkpoint(old, step);
    } catch (const std::exception& failure) {
      warnings.emplace_back(failure.what());
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
