#include "checkpoint/hf/hf_export.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/hf/hf_names.h"
#include "checkpoint/native/box.h"
#include "checkpoint/safetensors/safetensors_writer.h"
#include "common/check.h"
#include "common/error.h"
#include "common/file.h"
#include "common/wording.h"
#include "models/parameter_list.h"

namespace enodia {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kSlabElements = int64_t{1} << 22;  // 16 MiB of float32

/// A parameter and the tensor that will hold it.
struct Piece {
  ParameterShape parameter;
  SafetensorsSpec tensor;
};

std::vector<Piece> list_pieces(const HfConfig& config, DType dtype) {
  std::vector<Piece> pieces;
  for (ParameterShape& parameter : list_parameters(config.model)) {
    // Rounding a router's selection would send tokens elsewhere: transformers keeps it too.
    const bool is_exact = parameter.name.ends_with("e_score_correction_bias");
    SafetensorsSpec tensor{hf_name(*config.family, parameter.name),
                           is_exact ? DType::kFloat32 : dtype,
                           parameter.shape};
    pieces.push_back({std::move(parameter), std::move(tensor)});
  }
  std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) {
    return comes_before(a.tensor.name, b.tensor.name);
  });
  return pieces;
}

/// Runs of pieces of at most `max_bytes`, or of one piece.
std::vector<std::span<const Piece>> cut_files(std::span<const Piece> pieces, int64_t max_bytes) {
  std::vector<std::span<const Piece>> files;
  size_t begin = 0;
  int64_t bytes = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const int64_t more = pieces[i].tensor.bytes();
    if (i > begin && bytes + more > max_bytes) {
      files.push_back(pieces.subspan(begin, i - begin));
      begin = i;
      bytes = 0;
    }
    bytes += more;
  }
  files.push_back(pieces.subspan(begin));
  return files;
}

/// "model-00002-of-00005.safetensors"; transformers looks for these names.
std::string name_of_file(size_t index, size_t count) {
  if (count == 1) {
    return "model.safetensors";
  }
  char name[64];
  std::snprintf(name, sizeof(name), "model-%05zu-of-%05zu.safetensors", index + 1, count);
  return name;
}

/// The part of a parameter in a slab, as float32 or float64.
template <typename Value>
std::vector<Value> read_slab(const WeightSource& weights,
                             const ParameterShape& parameter,
                             const Box& slab) {
  constexpr DType kType = sizeof(Value) == 4 ? DType::kFloat32 : DType::kFloat64;
  std::vector<Value> values(static_cast<size_t>(*element_count(slab.size, sizeof(Value))));
  weights.read({parameter.name, kType, parameter.shape, slab.offset, slab.size, values.data()});
  return values;
}

float round_to(DType dtype, float value) {
  return dtype == DType::kBFloat16 ? float_from_bfloat16(bfloat16_from_float(value)) : value;
}

/// Writes weights, and looks for those that are not finite.
class WeightWriter {
 public:
  explicit WeightWriter(const WeightSource& weights) : weights_(weights) {}

  void write_file(const fs::path& path, std::span<const Piece> pieces) {
    std::vector<SafetensorsSpec> tensors;
    for (const Piece& piece : pieces) {
      tensors.push_back(piece.tensor);
    }
    SafetensorsWriter writer(path, std::move(tensors), {{"format", "pt"}});
    for (const Piece& piece : pieces) {
      for (const Box& slab : row_major_slabs(piece.parameter.shape, kSlabElements)) {
        write_slab(piece, slab, writer);
      }
    }
    writer.finish();
  }

  std::optional<std::string> first_not_finite() && { return std::move(first_not_finite_); }

 private:
  void write_slab(const Piece& piece, const Box& slab, SafetensorsWriter& writer) {
    const auto values = read_slab<float>(weights_, piece.parameter, slab);
    const DType dtype = piece.tensor.dtype;
    if (!std::all_of(values.begin(), values.end(), [dtype](float value) {
          return std::isfinite(round_to(dtype, value));
        })) {
      look_at_not_finite(piece, slab);
    }
    if (dtype == DType::kFloat32) {
      writer.write(std::as_bytes(std::span(values)));
      return;
    }
    std::vector<uint16_t> rounded(values.size());
    std::transform(values.begin(), values.end(), rounded.begin(), bfloat16_from_float);
    writer.write(std::as_bytes(std::span<const uint16_t>(rounded)));
  }

  /// A weight that is not finite stays so; one that is must not become infinite. The slab is read
  /// anew, since a float64 weight may be too large for float32 already.
  void look_at_not_finite(const Piece& piece, const Box& slab) {
    const DType dtype = piece.tensor.dtype;
    for (const double value : read_slab<double>(weights_, piece.parameter, slab)) {
      if (!std::isfinite(value)) {
        first_not_finite_ = first_not_finite_.value_or(piece.tensor.name);
      } else if (!std::isfinite(round_to(dtype, static_cast<float>(value)))) {
        throw FileError(
            detail::concat(quote(piece.tensor.name),
                           " holds ",
                           value,
                           ", which is too large for ",
                           name_of(dtype),
                           dtype == DType::kFloat32 ? "; " : "; export it as float32, or ",
                           "take a checkpoint from before the weights grew so large"));
      }
    }
  }

  const WeightSource& weights_;
  std::optional<std::string> first_not_finite_;
};

void write_json(const fs::path& path, const Json& json) {
  write_file_atomically(path, json.dump(2) + "\n");
}

Json index_of(std::span<const std::span<const Piece>> files) {
  Json map = Json::object();
  int64_t bytes = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    for (const Piece& piece : files[i]) {
      // Not by operator[], which searches all names before.
      map.get_ref<Json::object_t&>().emplace_back(piece.tensor.name, name_of_file(i, files.size()));
      bytes += piece.tensor.bytes();
    }
  }
  return {{"metadata", {{"total_size", bytes}}}, {"weight_map", std::move(map)}};
}

/// Weights of another model beside these would be taken for a part of them.
void refuse_other_weights(const fs::path& folder) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".safetensors") || name == "model.safetensors.index.json") {
      throw FileError(folder.string() + " already holds weights (" + name +
                      "); choose an empty folder");
    }
  }
  if (error) {
    throw FileError("cannot list " + folder.string() + ": " + error.message());
  }
}

}  // namespace

std::optional<std::string> write_hf_model(const fs::path& folder,
                                          const HfConfig& config,
                                          const WeightSource& weights,
                                          const HfExportOptions& options) {
  ENODIA_CHECK(options.dtype == DType::kFloat32 || options.dtype == DType::kBFloat16,
               "weights cannot be exported as ",
               name_of(options.dtype));
  refuse_other_weights(folder);
  const std::vector<Piece> pieces = list_pieces(config, options.dtype);
  const auto files = cut_files(pieces, options.max_file_bytes);
  WeightWriter writer(weights);
  for (size_t i = 0; i < files.size(); ++i) {
    writer.write_file(folder / name_of_file(i, files.size()), files[i]);
  }
  if (files.size() > 1) {
    write_json(folder / "model.safetensors.index.json", index_of(files));
  }
  write_json(folder / "generation_config.json", write_generation_config(config.token_ids));
  HfConfig written = config;
  written.dtype = name_of(options.dtype);
  // Last, so that a folder is a model only when all of it is there.
  write_json(folder / "config.json", write_hf_config(written));
  return std::move(writer).first_not_finite();
}

}  // namespace enodia
