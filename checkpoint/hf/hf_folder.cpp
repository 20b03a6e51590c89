#include "checkpoint/hf/hf_folder.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "checkpoint/hf/hf_description.h"
#include "checkpoint/hf/hf_names.h"
#include "checkpoint/native/box.h"
#include "checkpoint/safetensors/safetensors_elements.h"
#include "checkpoint/safetensors/safetensors_folder.h"
#include "common/check.h"
#include "common/error.h"
#include "common/log.h"
#include "common/wording.h"
#include "models/parameter_list.h"

namespace enodia {

namespace fs = std::filesystem;

/// The tensors of the files and where in them each parameter lies.
struct HfFolder::Tensors {
  struct Location {
    const SafetensorsTensor* tensor = nullptr;
    std::vector<int64_t> first;
  };
  SafetensorsFolder files;
  std::vector<ParameterShape> parameters;  ///< in name order
  std::vector<Location> locations;         ///< of each parameter

  Tensors(const fs::path& folder, const HfConfig& config);
};

namespace {

constexpr std::string_view kEmbedding = "embed_tokens.weight";
constexpr std::string_view kHead = "lm_head.weight";

/// "3 tensors are missing: a, b, c".
std::string list_names(const std::vector<std::string>& names, const std::string& what) {
  constexpr size_t kMost = 4;
  std::string text = std::to_string(names.size()) + what;
  for (size_t i = 0; i < std::min(names.size(), kMost); ++i) {
    text += (i == 0 ? ": " : ", ") + quote(names[i]);
  }
  return text + (names.size() > kMost ? " ..." : "");
}

/// Finds each parameter's tensor and gathers what does not fit.
class Fitting {
 public:
  Fitting(const HfConfig& config, const SafetensorsFolder& files)
      : config_(config),
        files_(files),
        used_(files.tensors().size(), false) {
    // A model without a head is stored without the name that holds it in the one with a head.
    const std::string whole = "model." + std::string(kEmbedding);
    strip_ = files.find(whole) == nullptr && files.find(kEmbedding) != nullptr ? "model." : "";
  }

  /// The tensor that holds the parameter, from element `first` on; null when there is none.
  const SafetensorsTensor* find(const ParameterShape& parameter, std::vector<int64_t>& first) {
    const auto places = hf_places(*config_.family, parameter, config_.model.num_experts);
    for (const HfPlace& place : places) {
      const bool strip = !strip_.empty() && place.tensor.starts_with(strip_);
      const SafetensorsTensor* tensor =
          files_.find(std::string_view(place.tensor).substr(strip ? strip_.size() : 0));
      if (tensor != nullptr) {
        use(*tensor, place);
        first = place.first;
        return tensor;
      }
    }
    missing_.push_back(places.front().tensor);
    return nullptr;
  }

  /// Tensors that no parameter needs must be known to be of no use.
  void pass_over_the_rest(const SafetensorsTensor* embedding) {
    std::vector<std::string> others;
    for (size_t i = 0; i < used_.size(); ++i) {
      const SafetensorsTensor& tensor = files_.tensors()[i];
      // A buffer that transformers up to 4.31 stored, and that follows from rope_theta.
      const bool is_buffer = tensor.name.ends_with("rotary_emb.inv_freq");
      const bool is_tied_head = config_.model.tie_word_embeddings && tensor.name == kHead;
      if (is_tied_head && embedding != nullptr) {
        compare_head(tensor, *embedding);
      } else if (!used_[i] && is_of_further_layer(tensor.name)) {
        ++further_;
      } else if (!used_[i] && !is_buffer) {
        others.push_back(tensor.name);
      }
    }
    if (further_ > 0) {
      log_info(std::to_string(further_) + " tensors of layers behind layer " +
               std::to_string(config_.model.num_hidden_layers - 1) +
               " are not read: they predict further tokens");
    }
    if (!others.empty()) {
      problems_.push_back(list_names(others,
                                     others.size() == 1 ? " tensor has no place in the model"
                                                        : " tensors have no place in the model"));
    }
  }

  std::vector<std::string> problems() && {
    if (!missing_.empty()) {
      const bool head = std::find(missing_.begin(), missing_.end(), kHead) != missing_.end();
      problems_.insert(
          problems_.begin(),
          list_names(missing_,
                     missing_.size() == 1 ? " tensor is missing" : " tensors are missing") +
              (head ? "; if the head is the embedding, set tie_word_embeddings in "
                      "config.json to true"
                    : ""));
    }
    return std::move(problems_);
  }

 private:
  void use(const SafetensorsTensor& tensor, const HfPlace& place) {
    auto used = used_.begin() + (&tensor - files_.tensors().data());
    if (*used) {
      return;  // by another expert, and found to fit or not
    }
    *used = true;
    if (tensor.shape != place.shape) {
      problems_.push_back(describe_misfit(tensor, place.shape));
    } else if (!is_safetensors_float(tensor.type)) {
      problems_.push_back(quote(tensor.name) + " has type " + quote(tensor.type) +
                          ", but weights are read from F64, F32, BF16 and F16 only");
    }
  }

  std::string describe_misfit(const SafetensorsTensor& tensor,
                              const std::vector<int64_t>& expected) const {
    const bool has_words = tensor.name.ends_with(kEmbedding) || tensor.name == kHead;
    if (has_words && tensor.shape.size() == 2 && tensor.shape[1] == expected[1]) {
      return quote(tensor.name) + " has " + std::to_string(tensor.shape[0]) +
             " rows, but vocab_size in config.json is " + std::to_string(expected[0]) +
             "; if rows were added as padding, set vocab_size to " +
             std::to_string(tensor.shape[0]);
    }
    return quote(tensor.name) + " has shape " + text_of(tensor.shape) +
           ", but config.json asks for " + text_of(expected);
  }

  /// Of multi-token prediction: "model.layers.61.enorm.weight" where the last layer is 60.
  bool is_of_further_layer(std::string_view name) const {
    constexpr std::string_view kLayers = "model.layers.";
    const std::string_view begin = kLayers.substr(strip_.size());
    if (!config_.family->has_further_layers || !name.starts_with(begin)) {
      return false;
    }
    int64_t layer = -1;
    std::from_chars(name.data() + begin.size(), name.data() + name.size(), layer);
    return layer >= config_.model.num_hidden_layers;
  }

  /// A head that is stored although it is tied must be the embedding.
  void compare_head(const SafetensorsTensor& head, const SafetensorsTensor& embedding) {
    constexpr int64_t kComparedAtOnce = int64_t{1} << 20;
    bool equal = head.shape == embedding.shape && head.type == embedding.type &&
                 is_safetensors_float(head.type);
    std::vector<double> a;
    std::vector<double> b;
    for (const Box& slab :
         row_major_slabs(equal ? head.shape : std::vector<int64_t>{0}, kComparedAtOnce)) {
      a.resize(static_cast<size_t>(*element_count(slab.size, sizeof(double))));
      b.resize(a.size());
      files_.read(head, slab, DType::kFloat64, a.data());
      files_.read(embedding, slab, DType::kFloat64, b.data());
      if (std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) != 0) {
        equal = false;
        break;
      }
    }
    if (!equal) {
      problems_.push_back(
          "'lm_head.weight' differs from the embedding, though tie_word_embeddings is true; set it "
          "to false in config.json if the head is to be used");
    }
  }

  const HfConfig& config_;
  const SafetensorsFolder& files_;
  std::string strip_;
  int64_t further_ = 0;
  std::vector<bool> used_;  // of files_.tensors()
  std::vector<std::string> missing_, problems_;
};

/// The most parameters that the tensors can hold: a fused one has two matrices for each index of
/// its first dimension, which takes a byte at least.
int64_t most_parameters_in(const SafetensorsFolder& files) {
  int64_t most = 0;
  for (const SafetensorsTensor& tensor : files.tensors()) {
    const bool may_be_fused = tensor.shape.size() == 3;
    most += may_be_fused ? 2 * std::min(tensor.shape[0], tensor.end - tensor.begin) : 1;
  }
  return most;
}

/// Refuses a config.json whose sizes are absurd beside the files before its parameters are listed,
/// which would take memory without bound. Below the bound what is missing is told by name.
std::vector<ParameterShape> list_within_reason(const fs::path& folder,
                                               const HfConfig& config,
                                               const SafetensorsFolder& files) {
  constexpr int64_t kAlwaysListed = 100'000;
  const ModelOptions& model = config.model;
  const int64_t wanted = count_parameters(model);
  const int64_t most = most_parameters_in(files);
  if (wanted > kAlwaysListed && wanted / 4 > most) {
    throw FileError(detail::concat(folder.string(),
                                   ": config.json asks for ",
                                   wanted,
                                   " weights (num_hidden_layers is ",
                                   model.num_hidden_layers,
                                   ", the number of experts ",
                                   model.num_experts,
                                   "), but the ",
                                   files.tensors().size(),
                                   " tensors of the files can hold at most ",
                                   most,
                                   "; take the config.json that belongs to the files"));
  }
  return list_parameters(model);
}

}  // namespace

HfFolder::Tensors::Tensors(const fs::path& folder, const HfConfig& config)
    : files(SafetensorsFolder::open(folder)),
      parameters(list_within_reason(folder, config, files)) {
  Fitting fitting(config, files);
  const SafetensorsTensor* embedding = nullptr;
  for (const ParameterShape& parameter : parameters) {
    Location location;
    location.tensor = fitting.find(parameter, location.first);
    if (parameter.name.ends_with(kEmbedding)) {
      embedding = location.tensor;
    }
    locations.push_back(std::move(location));
  }
  fitting.pass_over_the_rest(embedding);
  std::string sentence;
  for (const std::string& problem : std::move(fitting).problems()) {
    sentence += (sentence.empty() ? ": " : "; ") + problem;
  }
  if (!sentence.empty()) {
    throw FileError(folder.string() + sentence);
  }
}

namespace {

HfGeneration read_generation(const fs::path& folder, int64_t vocab_size) {
  const fs::path path = folder / "generation_config.json";
  std::error_code error;
  return fs::exists(path, error) ? read_hf_generation(read_json(path), path.string(), vocab_size)
                                 : HfGeneration();
}

}  // namespace

bool is_hf_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path / "config.json", error);
}

HfFolder::HfFolder(const fs::path& folder)
    : folder_(folder),
      config_(read_hf_config(read_json(folder / "config.json"), (folder / "config.json").string())),
      generation_(read_generation(folder, config_.model.vocab_size)),
      tensors_(std::make_unique<const Tensors>(folder, config_)) {}

HfFolder::~HfFolder() = default;

void HfFolder::read(const Shard& wanted) const {
  const auto& parameters = tensors_->parameters;
  const auto found = std::lower_bound(
      parameters.begin(),
      parameters.end(),
      wanted.name,
      [](const auto& parameter, const auto& name) { return parameter.name < name; });
  if (found == parameters.end() || found->name != wanted.name) {
    throw FileError(folder_.string() + " has no parameter " + quote(wanted.name));
  }
  const auto& [tensor, first] =
      tensors_->locations[static_cast<size_t>(found - parameters.begin())];
  if (found->shape != wanted.shape || !lies_inside({wanted.offset, wanted.size}, found->shape)) {
    throw FileError(tensors_->files.place_of(*tensor) + " holds " + wanted.name + " with shape " +
                    text_of(found->shape) + ", not " + text_of(wanted.shape));
  }
  const size_t fused = first.size() - wanted.offset.size();
  Box box{first, std::vector<int64_t>(first.size(), 1)};
  for (size_t dim = 0; dim < wanted.offset.size(); ++dim) {
    box.offset[fused + dim] += wanted.offset[dim];
    box.size[fused + dim] = wanted.size[dim];
  }
  tensors_->files.read(*tensor, box, wanted.dtype, wanted.data);
}

}  // namespace enodia
