#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "common/check.h"
#include "common/error.h"
#include "common/wording.h"
#include "trainer/config/config_rules.h"
#include "trainer/config/schema.h"
#include "trainer/config/stored_parts.h"
#include "trainer/config/suggestions.h"
#include "trainer/config/train_config.h"
#include "trainer/config/yaml_tree.h"

namespace enodia {
namespace {

/// Reads a file and overrides into one configuration and gathers everything that is wrong, so that
/// a user mends all of it at once.
class ConfigReader {
 public:
  explicit ConfigReader(TrainConfig& config) : config_(config), keys_(list_keys(config)) {}

  /// What read_file does with keys that there are not: report them, or add them to a list.
  void set_unknown_aside(std::vector<ConfigEntry>& unknown) { unknown_ = &unknown; }

  void read_file(const std::string& yaml_text) {
    const YamlTree tree = parse_yaml(yaml_text);
    for (const YamlComplaint& complaint : tree.complaints) {
      report({config_.file_name, complaint.line, complaint.column}, complaint.sentence);
    }
    readable_ = tree.root.kind != YamlNode::Kind::kRefused;
    if (tree.root.kind == YamlNode::Kind::kMap) {
      for (const YamlNode& section : tree.root.items) {
        read_section(section);
      }
    } else if (tree.root.kind == YamlNode::Kind::kNull) {
      report({config_.file_name}, "the file is empty; it needs at least " + list_required());
      readable_ = false;
    } else if (readable_) {
      report(place_of(tree.root),
             "the top level must be a mapping of sections (" + list_sections(keys_) +
                 "), not a list or a single value");
      readable_ = false;
    }
  }

  /// `argument` is what follows --set: section.key=value.
  void read_override(const std::string& argument) {
    const size_t equals = argument.find('=');
    const std::string path = argument.substr(0, equals);
    if (equals == std::string::npos || path.empty()) {
      report({"--set"},
             quote(argument) + " is not section.key=value; write for example train.steps=100");
      return;
    }
    const std::string text = argument.substr(equals + 1);
    const std::string escaped = quote(path);
    const ValueSource source{"--set " + escaped.substr(1, escaped.size() - 2)};
    const ConfigKey* key = find_key(path);
    if (key == nullptr) {
      report(source, explain_unknown_path(path, keys_));
      return;
    }
    if (text.find_first_of("\r\n") != std::string::npos) {
      report(source, path + " must be a single line");
      broken_.insert(path);
      return;
    }
    // In a shell --set key='' has lost its quotes.
    const auto* rule = std::get_if<TextRule>(&key->rule);
    const bool is_empty_text = text.empty() && rule != nullptr && rule->may_be_empty;
    const YamlTree tree = parse_yaml(is_empty_text ? "''" : text);
    for (const YamlComplaint& complaint : tree.complaints) {
      report(source, complaint.sentence);
    }
    read_key(*key, tree.root, source);
  }

  /// What model and router leave out is the initial model's; what they say of its weights must be
  /// so.
  void take_initial(const InitialModel& initial) {
    TrainConfig base = default_config(config_.parts);
    const std::map<std::string, double> defaults = base.model.settings;
    base.model = initial.model;
    base.model.settings.insert(defaults.begin(), defaults.end());
    base.router = initial.router;
    const std::vector<ConfigKey> base_keys = list_keys(base);
    for (size_t i = 0; i < keys_.size(); ++i) {
      const std::string path = keys_[i].path();
      const std::string value = base_keys[i].write();
      if (!shapes_model(path) || broken_.contains(path)) {
        continue;
      }
      if (value.empty()) {
        report({"train.init"},
               path + " of the model " + quote(config_.train.init) +
                   " is a part that this program does not have; use the program that trained it "
                   "(docs/extending.md)");
      } else if (!config_.sources.contains(path) || leaves_open(path)) {
        read_key(keys_[i], parse_yaml(value).root, {"train.init"});
      } else if (is_fixed_by_weights(path) && keys_[i].write() != value) {
        report(config_.source_of(path),
               path + " (" + keys_[i].write() + ") is " + value + " in the model " +
                   quote(config_.train.init) +
                   " that train.init names; leave it out, or start from another model");
      }
    }
  }

  /// Required keys and the rules between keys; these see only values that were read well.
  void check_whole(int world_size) {
    for (const ConfigKey& key : keys_) {
      const std::string path = key.path();
      const bool may_be_missing = unknown_ != nullptr;  // what was stored need not train
      if (readable_ && key.required && !may_be_missing && !config_.sources.contains(path) &&
          broken_.insert(path).second) {
        report(
            {config_.file_name},
            path + " is missing; it must be " + describe_rule(key.rule) + " (" + key.meaning + ")");
      }
    }
    for (const KeyRule& rule : find_broken_rules(config_, world_size)) {
      const bool already_told = std::any_of(
          rule.paths.begin(), rule.paths.end(), [&](const auto& p) { return broken_.contains(p); });
      if (readable_ && !already_told) {
        report(find_source(config_, rule.paths), rule.sentence);
      }
    }
  }

  /// In the order of the file, then of the command line.
  std::vector<ConfigProblem> problems() {
    std::stable_sort(found_.begin(), found_.end(), [](const Found& a, const Found& b) {
      return std::pair(a.source.line, a.source.column) < std::pair(b.source.line, b.source.column);
    });
    std::stable_partition(found_.begin(), found_.end(), [&](const Found& found) {
      return found.source.origin == config_.file_name;
    });
    std::vector<ConfigProblem> problems;
    for (Found& found : found_) {
      problems.push_back({found.source.place(), std::move(found.sentence)});
    }
    return problems;
  }

 private:
  struct Found {
    ValueSource source;
    std::string sentence;
  };

  void report(ValueSource source, std::string sentence) {
    found_.push_back({std::move(source), std::move(sentence)});
  }

  ValueSource place_of(const YamlNode& node) const {
    return {config_.file_name, node.line, node.column};
  }
  ValueSource place_of_key(const YamlNode& node) const {
    return {config_.file_name, node.key_line, node.key_column};
  }

  /// model.vocab_size: 0 is a way to leave it out.
  bool leaves_open(const std::string& path) const {
    return path == "model.vocab_size" && config_.model.vocab_size == 0;
  }
  /// These choose how a model is trained further; everything else of it is in its weights.
  static bool is_fixed_by_weights(const std::string& path) {
    return path.starts_with("model.") && path != "model.dtype" &&
           path != "model.initializer_range" && path != "model.max_position_embeddings";
  }
  static std::string text_of(const YamlNode& node) {
    return node.kind == YamlNode::Kind::kScalar ? node.text : "...";
  }

  const ConfigKey* find_key(const std::string& path) const {
    const auto found = std::find_if(
        keys_.begin(), keys_.end(), [&](const ConfigKey& key) { return key.path() == path; });
    return found == keys_.end() ? nullptr : &*found;
  }

  std::string list_required() const {
    std::string names;
    for (const ConfigKey& key : keys_) {
      if (key.required) {
        names += (names.empty() ? "" : ", ") + key.path();
      }
    }
    return names;
  }

  void read_section(const YamlNode& section) {
    if (section.kind == YamlNode::Kind::kRefused) {
      return;
    }
    const bool known = std::any_of(keys_.begin(), keys_.end(), [&](const ConfigKey& key) {
      return key.section == section.key;
    });
    if (!known && unknown_ != nullptr && section.kind == YamlNode::Kind::kMap) {
      for (const YamlNode& item : section.items) {
        unknown_->push_back({section.key + "." + item.key, text_of(item)});
      }
    } else if (!known) {
      report(place_of_key(section), explain_unknown_path(section.key, keys_));
    } else if (section.kind == YamlNode::Kind::kNull) {
      report(place_of_key(section),
             "the section " + section.key + " has no keys; give it some or remove it");
    } else if (section.kind == YamlNode::Kind::kMap) {
      for (const YamlNode& item : section.items) {
        read_item(section.key + "." + item.key, item);
      }
    } else {
      report(place_of(section), section.key + " is a section and must be a mapping of keys");
    }
  }

  void read_item(const std::string& path, const YamlNode& item) {
    const ConfigKey* key = find_key(path);
    if (key == nullptr && item.kind == YamlNode::Kind::kRefused) {
      return;
    }
    if (key == nullptr && unknown_ != nullptr && !shapes_model(path)) {
      unknown_->push_back({path, text_of(item)});
      return;
    }
    if (key == nullptr) {
      report(place_of_key(item), explain_unknown_path(path, keys_));
      return;
    }
    read_key(*key, item, place_of_key(item));
  }

  void read_key(const ConfigKey& key, const YamlNode& node, const ValueSource& key_place) {
    const bool in_file = key_place.line > 0;
    if (node.kind == YamlNode::Kind::kRefused) {
      broken_.insert(key.path());
      return;
    }
    if (node.kind == YamlNode::Kind::kNull) {
      report(
          key_place,
          key.path() + " has no value; it must be " + describe_rule(key.rule) + ", or be left out");
      broken_.insert(key.path());
      return;
    }
    const std::vector<YamlComplaint> complaints = key.read(node);
    for (const YamlComplaint& complaint : complaints) {
      report(in_file ? ValueSource{config_.file_name, complaint.line, complaint.column} : key_place,
             key.path() + " " + complaint.sentence);
    }
    if (!complaints.empty()) {
      broken_.insert(key.path());
      return;
    }
    config_.sources[key.path()] = key_place;
  }

  TrainConfig& config_;
  std::vector<ConfigKey> keys_;
  std::vector<Found> found_;
  std::set<std::string> broken_;  ///< paths whose value was refused or is missing
  std::vector<ConfigEntry>* unknown_ = nullptr;
  bool readable_ = true;  ///< false when the file gave no mapping: then no key is missed
};

/// run.name and run.dir follow from the file's name unless they were written.
void derive_names(TrainConfig& config) {
  if (config.run.name.empty()) {
    std::string stem = std::filesystem::path(config.file_name).stem().string();
    for (char& c : stem) {
      c = c < ' ' || c == 0x7f ? '_' : c;  // file names can hold any bytes, run.name is plain text
    }
    config.run.name = stem.empty() ? "run" : stem;
  }
  if (config.run.dir.empty()) {
    config.run.dir = "runs/" + config.run.name;
  }
}

}  // namespace

TrainConfig parse_train_config(const std::string& yaml_text,
                               const std::string& file_name,
                               std::span<const std::string> overrides,
                               int world_size,
                               const PartNames& parts,
                               const FindInitialModel& find_initial_model) {
  TrainConfig config = default_config(parts);
  config.file_name = file_name;
  ConfigReader reader(config);
  reader.read_file(yaml_text);
  for (const std::string& argument : overrides) {
    reader.read_override(argument);
  }
  derive_names(config);
  if (!config.train.init.empty() && find_initial_model) {
    reader.take_initial(find_initial_model(config));
  }
  reader.check_whole(world_size);
  throw_problems(reader.problems());
  return config;
}

StoredConfig parse_stored_config(const std::string& yaml_text, const std::string& file_name) {
  StoredConfig stored;
  stored.config = default_config(list_stored_parts(parse_yaml(yaml_text).root));
  stored.config.file_name = file_name;
  ConfigReader reader(stored.config);
  reader.set_unknown_aside(stored.unknown);
  reader.read_file(yaml_text);
  derive_names(stored.config);
  reader.check_whole(0);
  throw_problems(reader.problems());
  return stored;
}

void throw_problems(const std::vector<ConfigProblem>& problems) {
  constexpr size_t kMostShown = 40;
  std::string text;
  for (size_t i = 0; i < std::min(problems.size(), kMostShown); ++i) {
    text += (i == 0 ? "" : "\n") + problems[i].text();
  }
  if (problems.size() > kMostShown) {
    text += detail::concat("\n(and ", problems.size() - kMostShown, " more)");
  }
  if (!problems.empty()) {
    throw ConfigError(text);
  }
}

}  // namespace enodia
