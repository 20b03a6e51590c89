#include "checkpoint/native/folders.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "checkpoint/native/checkpoint.h"
#include "checkpoint/native/commit.h"
#include "common/check.h"
#include "common/error.h"

namespace enodia {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kPrefix = "step_";

enum class Kind { kStep, kOld, kTmp, kTrash };

/// An entry of the folder whose name is one of ours.
struct Entry {
  int64_t step;
  Kind kind;
  fs::path path;
};

std::optional<Entry> classify(const fs::path& path) {
  struct Pattern {
    std::string_view prefix;
    std::string_view suffix;
    Kind kind;
  };
  static constexpr std::array<Pattern, 4> kPatterns{{{".trash-", "", Kind::kTrash},
                                                     {"", ".tmp", Kind::kTmp},
                                                     {"", ".old", Kind::kOld},
                                                     {"", "", Kind::kStep}}};
  const std::string name = path.filename().string();
  for (const Pattern& pattern : kPatterns) {
    if (name.starts_with(pattern.prefix) && name.ends_with(pattern.suffix)) {
      const size_t length = name.size() - pattern.prefix.size() - pattern.suffix.size();
      const auto step = step_of_folder(name.substr(pattern.prefix.size(), length));
      return step ? std::optional(Entry{*step, pattern.kind, path}) : std::nullopt;
    }
  }
  return std::nullopt;
}

/// What is ours in the folder, newest first, step_N before step_N.old.
std::vector<Entry> list(const fs::path& folder) {
  std::vector<Entry> entries;
  std::error_code error;
  fs::directory_iterator iterator(folder, error);
  for (; !error && iterator != fs::directory_iterator(); iterator.increment(error)) {
    if (const auto entry = classify(iterator->path())) {
      entries.push_back(*entry);
    }
  }
  if (error) {
    throw FileError("cannot list the checkpoints in " + folder.string() + ": " + error.message());
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.step != b.step ? a.step > b.step : a.kind < b.kind;
  });
  return entries;
}

/// A step_N.old of which there is a whole step_N again.
bool is_replaced(const Entry& entry) {
  const fs::path newer = entry.path.parent_path() / step_folder_name(entry.step);
  return entry.kind == Kind::kOld && checkpoint_fault(newer, entry.step).empty();
}

/// Runs `work`; a failure becomes a sentence.
template <typename Work>
void attempt(std::vector<std::string>& sentences, const Work& work) {
  try {
    work();
  } catch (const std::exception& failure) {
    sentences.emplace_back(failure.what());
  }
}

}  // namespace

std::string checkpoint_fault(const fs::path& path, int64_t step) {
  if (!is_folder(path)) {
    return path.string() + " is not a folder (links are refused here)";
  }
  try {
    const Checkpoint checkpoint = Checkpoint::open(path);
    return checkpoint.step() == step
               ? ""
               : path.string() + " holds a checkpoint of step " + std::to_string(checkpoint.step());
  } catch (const std::exception& failure) {
    return failure.what();
  }
}

std::string step_folder_name(int64_t step) {
  return std::string(kPrefix) + std::to_string(step);
}

std::optional<int64_t> step_of_folder(std::string_view name) {
  if (!name.starts_with(kPrefix)) {
    return std::nullopt;
  }
  const std::string_view digits = name.substr(kPrefix.size());
  int64_t step = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  const bool number = error == std::errc() && end == digits.data() + digits.size();
  return number && step_folder_name(step) == name && step >= 0 ? std::optional(step) : std::nullopt;
}

FoundCheckpoint newest_checkpoint(const fs::path& folder, std::optional<int64_t> below) {
  FoundCheckpoint found;
  std::error_code error;
  if (fs::status(folder, error).type() == fs::file_type::not_found) {
    return found;
  }
  for (const Entry& entry : list(folder)) {
    if (entry.kind == Kind::kTmp || entry.kind == Kind::kTrash || (below && entry.step >= *below)) {
      continue;
    }
    std::string fault = checkpoint_fault(entry.path, entry.step);
    if (fault.empty()) {
      found.path = entry.path;
      return found;
    }
    found.skipped.push_back(std::move(fault));
  }
  return found;
}

std::vector<std::string> remove_old(const fs::path& folder, int64_t keep) {
  ENODIA_CHECK(keep >= 1, "at least one checkpoint must be kept, not ", keep);
  std::vector<std::string> sentences;
  int64_t whole = 0;
  for (const Entry& entry : list(folder)) {
    if (!is_folder(entry.path)) {
      continue;
    }
    if (entry.kind == Kind::kTmp || entry.kind == Kind::kTrash) {
      attempt(sentences, [&] { discard(entry.path, entry.step); });
    } else if (checkpoint_fault(entry.path, entry.step).empty() &&
               (is_replaced(entry) || ++whole > keep)) {
      attempt(sentences, [&] { discard_checkpoint(entry.path, entry.step); });
    }
  }
  return sentences;
}

}  // namespace enodia
