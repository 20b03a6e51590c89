#include "checkpoint/native/save.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "checkpoint/native/folders.h"
#include "checkpoint/native/shard_table.h"
#include "checkpoint/native/shard_writer.h"
#include "collectives/collectives.h"
#include "common/error.h"
#include "common/file.h"
#include "common/hash.h"

namespace enodia {
namespace fs = std::filesystem;
namespace {

/// What a rank reports to the others: a result, or why there is none.
constexpr char kDone = 'D';
constexpr char kFailed = 'F';
constexpr char kFailedLate = 'L';  // after the rename

/// Runs `work`, which returns a text. No exception leaves: the others wait for the report.
template <typename Work>
std::string report_of(const Work& work) {
  try {
    return kDone + work();
  } catch (const std::exception& failure) {
    return std::string(1, kFailed) + failure.what();
  }
}

/// One save, from the view of one rank.
class Save {
 public:
  Save(Communicator& communicator, const fs::path& folder, int64_t step, const SaveOptions& options)
      : communicator_(communicator),
        folder_(folder),
        step_(step),
        target_(folder / step_folder_name(step)),
        fresh_(target_.string() + ".tmp"),
        reached_(options.reached) {}

  std::vector<std::string> run(std::span<const Shard> shards,
                               const Json& document,
                               std::span<const Attachment> attachments) {
    require_same_step(agree(all_gather_text(communicator_, report_of([&] { return begin(); }))));
    const std::string table = report_of([&] { return write_shards(shards); });
    const std::vector<std::string> tables = agree(all_gather_text(communicator_, table));
    std::string report;
    if (is_first()) {
      report = report_of([&] { return commit(tables, document, attachments); });
      if (report.front() == kFailed && committed_) {
        report.front() = kFailedLate;
      }
    }
    agree({broadcast_text(communicator_, report, 0)});
    return warnings_;
  }

 private:
  bool is_first() const { return communicator_.rank() == 0; }

  /// Rank 0 makes the folder that all write to; the gather that follows is the barrier.
  std::string begin() {
    reached_("begin");
    if (step_ < 0) {
      throw FileError("a step cannot be negative");
    }
    if (is_first()) {
      make_folder(folder_);
      if (is_taken(fresh_)) {
        discard(fresh_, step_);
      }
      make_folder(fresh_);
      made_fresh_ = true;
    }
    reached_("folder_made");
    return std::to_string(step_);
  }

  static void make_folder(const fs::path& path) {
    std::error_code error;
    fs::create_directories(path, error);
    if (error) {
      throw FileError("cannot create the folder " + path.string() + ": " + error.message());
    }
  }

  void require_same_step(const std::vector<std::string>& steps) {
    for (size_t rank = 1; rank < steps.size(); ++rank) {
      if (steps[rank] != steps[0]) {
        abandon();
        throw FileError("all ranks must save the same step, but rank 0 saves step " + steps[0] +
                        " and rank " + std::to_string(rank) + " saves step " + steps[rank]);
      }
    }
  }

  /// Writes this rank's file; returns its table as text. Boxes lie in the order of names and
  /// offsets, whatever the order of `shards`.
  std::string write_shards(std::span<const Shard> shards) {
    std::vector<size_t> order(shards.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return std::tie(shards[a].name, shards[a].offset) <
             std::tie(shards[b].name, shards[b].offset);
    });
    ShardWriter writer(fresh_ / shard_file_name(communicator_.rank()));
    ShardTable table;
    for (const size_t index : order) {
      write_shard(shards[index], writer, table);
    }
    reached_("before_flush");
    table.file = writer.finish();
    reached_("shard_written");
    return to_text(table);
  }

  void write_shard(const Shard& shard, ShardWriter& writer, ShardTable& table) {
    check_shard(shard);
    StoredTensor tensor{shard.name, shard.dtype, shard.shape, {}};
    const auto element_bytes = static_cast<int64_t>(size_of(shard.dtype));
    const int64_t bytes = *element_count(shard.size, size_of(shard.dtype)) * element_bytes;
    if (bytes > 0) {
      const ShardWriter::Place place = writer.append(shard.data, bytes);
      tensor.boxes.push_back(
          {{shard.offset, shard.size}, communicator_.rank(), place.byte_offset, bytes, place.hash});
    }
    table.tensors.push_back(std::move(tensor));
    reached_("box_written");
  }

  /// On rank 0, when all files are on the disk: proves that they hold everything once, adds the
  /// attachments and the manifest, and renames.
  std::string commit(std::span<const std::string> tables,
                     const Json& document,
                     std::span<const Attachment> attachments) {
    Manifest manifest;
    manifest.step = step_;
    manifest.document = document;
    std::vector<ShardTable> parsed;
    for (size_t rank = 0; rank < tables.size(); ++rank) {
      parsed.push_back(
          parse_shard_table(tables[rank], "the table of rank " + std::to_string(rank)));
    }
    join_tables(parsed, manifest);
    for (const Attachment& attachment : attachments) {
      manifest.attachments.push_back(stored(attachment));
    }
    std::sort(manifest.attachments.begin(),
              manifest.attachments.end(),
              [](const StoredFile& a, const StoredFile& b) { return a.name < b.name; });
    check_manifest(manifest, "the state to save");
    const std::string text = manifest_text(manifest);
    require_same_document(document);
    for (const Attachment& attachment : attachments) {
      write_file_atomically(fresh_ / attachment.name, attachment.content);
    }
    reached_("before_manifest");
    write_file_atomically(fresh_ / "manifest.json", text);  // flushes the folder as well
    reached_("before_rename");
    warnings_ = put_in_place(folder_, step_, reached_);
    committed_ = true;
    sync_folder(folder_);
    reached_("after_rename");
    for (std::string& warning : discard_former(folder_, step_)) {
      warnings_.push_back(std::move(warning));
    }
    return "";
  }

  static StoredFile stored(const Attachment& attachment) {
    const std::string& content = attachment.content;
    return {attachment.name,
            static_cast<int64_t>(content.size()),
            hash_of(content.data(), content.size())};
  }

  /// JSON has no NaN and no infinity: such a document would come back as another one.
  static void require_same_document(const Json& document) {
    const Json wrapped{{"document", document}};
    if (parse_json(wrapped.dump(), "the document to save") != wrapped) {
      throw FileError("the document to save holds a number that JSON cannot (NaN or infinity)");
    }
  }

  /// All ranks throw the same sentence when one of them failed; else the reports' results.
  std::vector<std::string> agree(const std::vector<std::string>& reports) {
    std::vector<std::string> results;
    for (size_t rank = 0; rank < reports.size(); ++rank) {
      const char outcome = reports[rank].front();
      const std::string text = reports[rank].substr(1);
      if (outcome != kDone) {
        abandon();
        throw FileError("cannot save step " + std::to_string(step_) + " in " + folder_.string() +
                        ": rank " + std::to_string(rank) + ": " + text +
                        (outcome == kFailed
                             ? "; nothing was committed, earlier checkpoints are as they were"
                             : "; the new checkpoint is in place all the same"));
      }
      results.push_back(text);
    }
    return results;
  }

  /// Removes the unfinished folder as well as possible; by now every rank has closed its file.
  void abandon() const {
    std::error_code ignored;
    if (made_fresh_) {
      fs::remove_all(fresh_, ignored);
    }
  }

  Communicator& communicator_;
  const fs::path folder_;
  const int64_t step_;
  const fs::path target_;
  const fs::path fresh_;
  const ReachedPoint reached_;
  std::vector<std::string> warnings_;
  bool made_fresh_ = false;
  bool committed_ = false;
};

}  // namespace

std::vector<std::string> save_checkpoint(Communicator& communicator,
                                         const fs::path& folder,
                                         int64_t step,
                                         std::span<const Shard> shards,
                                         const Json& document,
                                         std::span<const Attachment> attachments,
                                         const SaveOptions& options) {
  return Save(communicator, folder, step, options).run(shards, document, attachments);
}

}  // namespace enodia
