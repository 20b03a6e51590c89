#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <list>
#include <string>
#include <vector>

#include "checkpoint/native/checkpoint.h"
#include "checkpoint/native/save.h"

namespace enodia {

/// A folder of this test's own, removed with all it holds.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A whole logical tensor, row-major.
struct LogicalTensor {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
};

/// What a training run might hold; other seeds give other bytes, document and attachments.
struct State {
  std::vector<LogicalTensor> tensors;
  Json document;
  std::vector<Attachment> attachments;
};
State make_state(int seed);

/// How tensors are cut over ranks.
enum class Cut {
  kRows,     ///< uneven ranges of dimension 0; some ranks hold nothing of short tensors
  kColumns,  ///< uneven ranges of dimension 1; tensors without one lie whole on the last rank
  kTiles,    ///< two ranges of dimension 0, each cut along dimension 1, dealt to the ranks
  kWhole,    ///< each tensor on one rank, in turn
};
std::string name_of(Cut cut);

/// One rank's pieces and the memory behind them.
struct Pieces {
  std::vector<Shard> shards;
  std::list<std::vector<std::byte>> memory;
};

/// This rank's pieces with the state's values, picked element by element.
Pieces cut_state(const State& state, Cut cut, int rank, int world_size);

/// Saves with `world_size` ranks as threads. `reached(rank, point)` as in SaveOptions. Rethrows
/// what rank 0 throws; the others must throw the same.
void save(
    const State& state,
    Cut cut,
    int world_size,
    const std::filesystem::path& folder,
    int64_t step,
    const std::function<void(int, std::string_view)>& reached = [](int, std::string_view) {});

/// Fails the test unless the checkpoint holds this state, read with this cut on `world_size` ranks.
void expect_holds(const Checkpoint& checkpoint, const State& state, Cut cut, int world_size);

/// Reads everything; the document and attachments first. Equal to the state?
bool holds(const Checkpoint& checkpoint, const State& state);

/// The sentence of the FileError that `work` throws; "" when it throws nothing. Other exceptions
/// pass through.
std::string file_error_of(const std::function<void()>& work);

std::string content_of(const std::filesystem::path& path);
void put_content(const std::filesystem::path& path, const std::string& content);

}  // namespace enodia
