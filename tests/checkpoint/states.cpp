#include "tests/checkpoint/states.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <mutex>
#include <set>

#include <gtest/gtest.h>

#include "collectives/loopback/loopback.h"
#include "common/error.h"
#include "common/random.h"

#include <stdlib.h>

namespace enodia {
namespace fs = std::filesystem;
namespace {

LogicalTensor make_tensor(std::string name, DType dtype, std::vector<int64_t> shape, int seed) {
  int64_t elements = 1;
  for (const int64_t size : shape) {
    elements *= size;
  }
  const RandomKey key = RandomKey(static_cast<uint64_t>(seed)).with(name);
  std::vector<std::byte> bytes(static_cast<size_t>(elements) * size_of(dtype));
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(philox(key, i)[0] & 0xFF);
  }
  return {std::move(name), dtype, std::move(shape), std::move(bytes)};
}

/// The `index`-th of `parts` uneven ranges of [0, size): the first parts are the longer ones.
std::pair<int64_t, int64_t> uneven_range(int64_t size, int64_t index, int64_t parts) {
  const auto bound = [&](int64_t i) {
    return i == parts ? size : size - size * (parts - i) * (parts - i) / (parts * parts);
  };
  return {bound(index), bound(index + 1)};
}

Box whole_box(const LogicalTensor& tensor) {
  return {std::vector<int64_t>(tensor.shape.size(), 0), tensor.shape};
}

Box narrowed(Box box, size_t dim, int64_t index, int64_t parts) {
  const auto [begin, end] = uneven_range(box.size[dim], index, parts);
  box.offset[dim] = begin;
  box.size[dim] = end - begin;
  return box;
}

/// The boxes of one tensor on one rank.
std::vector<Box> boxes_of(
    const LogicalTensor& tensor, size_t number, Cut cut, int rank, int world) {
  const size_t dims = tensor.shape.size();
  const Box whole = whole_box(tensor);
  if (cut == Cut::kRows && dims >= 1) {
    return {narrowed(whole, 0, rank, world)};
  }
  if (cut == Cut::kColumns && dims >= 2) {
    return {narrowed(whole, 1, rank, world)};
  }
  if (cut == Cut::kTiles && dims >= 2) {
    return {narrowed(narrowed(whole, 0, 0, 2), 1, rank, world),
            narrowed(narrowed(whole, 0, 1, 2), 1, world - 1 - rank, world)};
  }
  const auto home = cut == Cut::kColumns ? world - 1 : static_cast<int>(number) % world;
  return rank == home ? std::vector<Box>{whole} : std::vector<Box>{};
}

std::vector<std::byte> pick(const LogicalTensor& tensor, const Box& box) {
  const size_t element = size_of(tensor.dtype);
  std::vector<std::byte> picked;
  for (size_t i = 0; i * element < tensor.bytes.size(); ++i) {
    auto rest = static_cast<int64_t>(i);
    bool inside = true;
    for (size_t dim = tensor.shape.size(); dim-- > 0;) {
      const int64_t at = rest % tensor.shape[dim];
      rest /= tensor.shape[dim];
      inside = inside && at >= box.offset[dim] && at < box.offset[dim] + box.size[dim];
    }
    if (inside) {
      const auto first = tensor.bytes.begin() + static_cast<int64_t>(i * element);
      picked.insert(picked.end(), first, first + static_cast<int64_t>(element));
    }
  }
  return picked;
}

}  // namespace

ScratchFolder::ScratchFolder() {
  std::string pattern = (fs::temp_directory_path() / "enodia-checkpoint-XXXXXX").string();
  path_ = ::mkdtemp(pattern.data());
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

State make_state(int seed) {
  State state;
  state.tensors = {
      make_tensor("layers.0.experts.weight", DType::kFloat32, {6, 4, 3}, seed),
      make_tensor("layers.0.gate.weight", DType::kFloat32, {7, 5}, seed),
      make_tensor("layers.0.norm.weight", DType::kBFloat16, {11}, seed),
      make_tensor("nothing", DType::kFloat64, {0, 3}, seed),
      make_tensor("optimizer.step", DType::kInt64, {}, seed),
      make_tensor("text", DType::kUInt8, {300}, seed),
  };
  state.document = Json{{"model", Json{{"hidden_size", 4}, {"eps", 1e-6}, {"tied", false}}},
                        {"consumed_samples", 12345678901234 + seed},
                        {"loss", 0.1 + seed},
                        {"names", Json::array({"a", "\u00e9", nullptr})}};
  state.attachments = {{"tokenizer.model", std::string("\0binary\xff", 8) + std::to_string(seed)},
                       {"config.yaml", "run: {seed: " + std::to_string(seed) + "}\n"}};
  return state;
}

std::string name_of(Cut cut) {
  constexpr std::array<const char*, 4> kNames{"Rows", "Columns", "Tiles", "Whole"};
  return kNames.at(static_cast<size_t>(cut));
}

Pieces cut_state(const State& state, Cut cut, int rank, int world_size) {
  Pieces pieces;
  for (size_t number = 0; number < state.tensors.size(); ++number) {
    const LogicalTensor& tensor = state.tensors[number];
    for (const Box& box : boxes_of(tensor, number, cut, rank, world_size)) {
      pieces.memory.push_back(pick(tensor, box));
      pieces.shards.push_back({tensor.name,
                               tensor.dtype,
                               tensor.shape,
                               box.offset,
                               box.size,
                               pieces.memory.back().data()});
    }
  }
  return pieces;
}

void save(const State& state,
          Cut cut,
          int world_size,
          const fs::path& folder,
          int64_t step,
          const std::function<void(int, std::string_view)>& reached) {
  std::mutex mutex;
  std::multiset<std::string> sentences;
  run_loopback(world_size, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    const Pieces pieces = cut_state(state, cut, rank, world_size);
    SaveOptions options;
    options.reached = [&](std::string_view point) { reached(rank, point); };
    const std::string sentence = file_error_of([&] {
      save_checkpoint(communicator,
                      folder,
                      step,
                      pieces.shards,
                      rank == 0 ? state.document : Json(),
                      rank == 0 ? state.attachments : std::vector<Attachment>{},
                      options);
    });
    const std::lock_guard lock(mutex);
    sentences.insert(sentence);
  });
  EXPECT_EQ(sentences.count(*sentences.begin()), static_cast<size_t>(world_size))
      << "one rank says " << *sentences.begin() << ", another " << *sentences.rbegin();
  if (!sentences.begin()->empty()) {
    throw FileError(*sentences.begin());
  }
}

void expect_holds(const Checkpoint& checkpoint, const State& state, Cut cut, int world_size) {
  EXPECT_EQ(checkpoint.document(), state.document);
  EXPECT_EQ(checkpoint.tensors().size(), state.tensors.size());
  for (int rank = 0; rank < world_size; ++rank) {
    Pieces expected = cut_state(state, cut, rank, world_size);
    auto memory = expected.memory.begin();
    for (Shard& shard : expected.shards) {
      std::vector<std::byte> loaded(memory->size(), std::byte{0xA5});
      shard.data = loaded.data();
      checkpoint.read(shard);
      EXPECT_EQ(loaded, *memory++) << shard.name << " on rank " << rank << " of " << world_size;
    }
  }
  for (const Attachment& attachment : state.attachments) {
    EXPECT_EQ(checkpoint.attachment(attachment.name), attachment.content);
  }
}

bool holds(const Checkpoint& checkpoint, const State& state) {
  bool equal = checkpoint.document() == state.document &&
               checkpoint.tensors().size() == state.tensors.size() &&
               checkpoint.attachments().size() == state.attachments.size();
  for (const Attachment& attachment : state.attachments) {
    equal = equal && checkpoint.attachment(attachment.name) == attachment.content;
  }
  for (const LogicalTensor& tensor : state.tensors) {
    std::vector<std::byte> loaded(tensor.bytes.size());
    const Box box = whole_box(tensor);
    checkpoint.read({tensor.name, tensor.dtype, tensor.shape, box.offset, box.size, loaded.data()});
    equal = equal && loaded == tensor.bytes;
  }
  return equal;
}

std::string file_error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const FileError& error) {
    return error.what();
  }
  return "";
}

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void put_content(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

}  // namespace enodia
