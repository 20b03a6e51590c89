#include "trainer/config/source_list.h"

#include <algorithm>
#include <array>

#include "common/check.h"
#include "common/sentence.h"
#include "common/wording.h"
#include "trainer/data/blend.h"

namespace enodia {
namespace {

/// Reads the entries of the list one by one and gathers what is wrong.
class SourceListReader {
 public:
  explicit SourceListReader(const SourceListRule& rule) : rule_(rule) {}

  void read_entry(const YamlNode& entry) {
    number_ += 1;
    if (entry.kind == YamlNode::Kind::kRefused) {
      return;  // told already
    }
    if (entry.kind != YamlNode::Kind::kMap) {
      complain(entry.line, entry.column, "must be a mapping {prefix: PREFIX, weight: W}");
      return;
    }
    DataSource source;
    bool has_prefix = false;
    bool has_weight = false;
    for (const YamlNode& item : entry.items) {
      if (item.key == "prefix") {
        has_prefix = true;
        read_item(item, rule_.kPrefix, source.prefix);
      } else if (item.key == "weight") {
        has_weight = true;
        read_item(item, rule_.kWeight, source.weight);
      } else {
        complain(item.key_line, item.key_column, explain_unknown_key(item.key));
      }
    }
    const std::string missing = !has_prefix ? "prefix" : "weight";
    if (!has_prefix || !has_weight) {
      complain(
          entry.line, entry.column, "has no " + missing + "; write {prefix: PREFIX, weight: W}");
    }
    sources.push_back(std::move(source));
    entries_.push_back(&entry);
  }

  /// What only the whole list shows.
  void check_whole() {
    if (!complaints.empty()) {
      return;
    }
    const double largest = std::max_element(sources.begin(), sources.end(), lighter)->weight;
    double sum = 0;
    for (const DataSource& source : sources) {
      sum += source.weight / largest;
    }
    for (size_t i = 0; i < sources.size(); ++i) {
      number_ = i + 1;
      const auto same = [&](const DataSource& other) { return other.prefix == sources[i].prefix; };
      const auto first = std::find_if(sources.begin(), sources.end(), same) - sources.begin();
      if (first < std::ssize(sources) && first != static_cast<std::ptrdiff_t>(i)) {
        complain(entries_[i]->line,
                 entries_[i]->column,
                 detail::concat("has the prefix of entry ", first + 1, "; add up their weights"));
      }
      if (sources[i].weight / largest / sum < Blend::kSmallestShare) {
        complain(entries_[i]->line,
                 entries_[i]->column,
                 "has a weight (" + shortest(sources[i].weight) +
                     ") below a millionth of the sum of all; raise it or leave the entry out");
      }
    }
  }

  std::vector<DataSource> sources;
  std::vector<YamlComplaint> complaints;

 private:
  static bool lighter(const DataSource& a, const DataSource& b) { return a.weight < b.weight; }

  static std::string explain_unknown_key(const std::string& key) {
    static const std::array<std::string, 2> kKeys{"prefix", "weight"};
    const std::string nearest = nearest_word(key, kKeys);
    return "has the unknown key " + quote(key) +
           (nearest.empty() ? "; its keys are prefix and weight"
                            : "; did you mean " + quote(nearest) + "?");
  }

  template <typename Rule, typename Field>
  void read_item(const YamlNode& item, const Rule& rule, Field& field) {
    if (item.kind == YamlNode::Kind::kRefused) {
      return;
    }
    if (item.kind == YamlNode::Kind::kNull) {
      complain(item.key_line,
               item.key_column,
               item.key + " has no value; it must be " + describe_rule(rule));
      return;
    }
    const std::string refusal = read_value(item, rule, field);
    if (!refusal.empty()) {
      complain(item.line, item.column, item.key + " " + refusal);
    }
  }

  void complain(int line, int column, const std::string& sentence) {
    complaints.push_back({line, column, detail::concat("entry ", number_, " ", sentence)});
  }

  const SourceListRule& rule_;
  size_t number_ = 0;                     ///< of the entry at hand, from 1
  std::vector<const YamlNode*> entries_;  ///< that gave `sources`
};

}  // namespace

std::vector<YamlComplaint> read_value(const YamlNode& node,
                                      const SourceListRule& rule,
                                      std::vector<DataSource>& field) {
  const auto refuse = [&node](const std::string& sentence) {
    return std::vector<YamlComplaint>{{node.line, node.column, sentence}};
  };
  if (node.kind == YamlNode::Kind::kScalar) {
    std::string prefix;
    const std::string refusal = read_value(node, rule.kPrefix, prefix);
    if (!refusal.empty()) {
      return refuse(refusal);
    }
    field = {{prefix, 1.0}};
    return {};
  }
  if (node.kind != YamlNode::Kind::kList) {
    return refuse(refuse_value(node, rule));
  }
  if (node.items.empty() || std::ssize(node.items) > Blend::kMaxSources) {
    return refuse(detail::concat(
        "must be a list of 1 to ", Blend::kMaxSources, " sources, not of ", node.items.size()));
  }
  SourceListReader reader(rule);
  for (const YamlNode& entry : node.items) {
    reader.read_entry(entry);
  }
  if (reader.sources.size() == node.items.size()) {
    reader.check_whole();
  }
  if (reader.complaints.empty()) {
    field = std::move(reader.sources);
  }
  return std::move(reader.complaints);
}

std::string write_value(const SourceListRule& rule, const std::vector<DataSource>& value) {
  if (value.size() == 1 && value[0].weight == 1.0) {
    return write_value(rule.kPrefix, value[0].prefix);
  }
  std::string list;
  for (const DataSource& source : value) {
    list += (list.empty() ? "[" : ", ") + ("{prefix: " + write_value(rule.kPrefix, source.prefix)) +
            ", weight: " + write_value(rule.kWeight, source.weight) + "}";
  }
  return list.empty() ? "" : list + "]";
}

}  // namespace enodia
