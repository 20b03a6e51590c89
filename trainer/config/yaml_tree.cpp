#include "trainer/config/yaml_tree.h"

#include <map>
#include <sstream>
#include <string_view>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include "common/check.h"
#include "common/wording.h"
#include "trainer/config/yaml_characters.h"

namespace enodia {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 20;
constexpr size_t kMaxDepth = 16;

/// Thrown out of the parser's events to stop it before it recurses further.
struct Stop {
  YamlComplaint complaint;
};

/// Whether the quoted scalar that begins at `begin` ends: yaml-cpp lets the end of the text close
/// it.
bool is_closed(std::string_view text, size_t begin) {
  const char quote_mark = text[begin];
  for (size_t i = begin + 1; i < text.size(); ++i) {
    const bool escapes = text[i] == '\\' && quote_mark == '"';
    const bool doubled =
        quote_mark == '\'' && text[i] == '\'' && i + 1 < text.size() && text[i + 1] == '\'';
    if (escapes || doubled) {
      ++i;
    } else if (text[i] == quote_mark) {
      return true;
    }
  }
  return false;
}

/// Builds the tree from yaml-cpp's events: they show anchors, tags and duplicate keys, which its
/// node graph hides, and let us stop before deep nesting overflows its recursive parser.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view text, YamlTree& tree) : text_(text), tree_(tree) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      stop(mark, "a second document begins here; a configuration is one document");
    }
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { add(mark, YamlNode::Kind::kNull); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    complain(mark, "aliases are not supported; write the value out");
    add(mark, YamlNode::Kind::kRefused);
  }
  void OnAnchor(const YAML::Mark& mark, const std::string& name) override {
    complain(mark, "anchors are not supported; remove " + quote("&" + name));
  }
  void OnScalar(const YAML::Mark& mark,
                const std::string& tag,
                YAML::anchor_t,
                const std::string& text) override {
    refuse_tag(mark, tag);
    refuse_open_quote(mark);
    const bool quoted = tag == "!";
    if (awaits_key()) {
      take_key(mark, text, quoted);
      return;
    }
    YamlNode& node = add(mark, YamlNode::Kind::kScalar);
    node.text = text;
    node.quoted = quoted;
  }
  void OnSequenceStart(const YAML::Mark& mark,
                       const std::string& tag,
                       YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    refuse_tag(mark, tag);
    open(mark, YamlNode::Kind::kList);
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark,
                  const std::string& tag,
                  YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    refuse_tag(mark, tag);
    open(mark, YamlNode::Kind::kMap);
  }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  /// A list or map whose end has not come. A pointer into the tree stays valid while its node is
  /// the last of its parent, and only the innermost open node grows.
  struct Open {
    YamlNode* node;
    bool is_map;
    bool has_key = false;
    YamlNode next;                     ///< carries the key and its place until the value comes
    std::map<std::string, int> lines;  ///< of the keys seen
  };

  bool awaits_key() const { return !open_.empty() && open_.back().is_map && !open_.back().has_key; }

  void take_key(const YAML::Mark& mark, const std::string& text, bool quoted) {
    Open& map = open_.back();
    const auto [first, is_new] = map.lines.emplace(text, mark.line + 1);
    if (!is_new) {
      complain(mark,
               detail::concat("duplicate key ",
                              quote(path_of_map() + text),
                              "; it stands on line ",
                              first->second,
                              " already; keep one"));
    }
    map.has_key = true;
    map.next = YamlNode{};
    map.next.key = text;
    map.next.key_line = mark.line + 1;
    map.next.key_column = mark.column + 1;
    if (text == "<<" && !quoted) {
      complain(mark, "merge keys ('<<') are not supported; write the keys out");
      map.next.kind = YamlNode::Kind::kRefused;
    }
  }

  /// "model." for a key of the section `model`, empty at the top.
  std::string path_of_map() const {
    std::string path;
    for (const Open& level : open_) {
      path += level.node->key.empty() ? "" : level.node->key + ".";
    }
    return path;
  }

  /// Adds a node to the innermost open list or map, or makes it the root.
  YamlNode& add(const YAML::Mark& mark, YamlNode::Kind kind) {
    if (awaits_key()) {
      stop(mark,
           kind == YamlNode::Kind::kNull
               ? "a key must be a plain word"
               : "a list, mapping or alias cannot be a key; is a bracket left open?");
    }
    YamlNode node;
    if (!open_.empty() && open_.back().has_key) {
      node = std::move(open_.back().next);
      open_.back().has_key = false;
    }
    if (node.kind != YamlNode::Kind::kRefused) {
      node.kind = kind;
    }
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    if (open_.empty()) {
      tree_.root = std::move(node);
      return tree_.root;
    }
    std::vector<YamlNode>& siblings = open_.back().node->items;
    siblings.push_back(std::move(node));
    return siblings.back();
  }

  void open(const YAML::Mark& mark, YamlNode::Kind kind) {
    if (open_.size() == kMaxDepth) {
      stop(mark, detail::concat("lists and mappings are nested deeper than ", kMaxDepth));
    }
    open_.push_back(Open{&add(mark, kind), kind == YamlNode::Kind::kMap, false, {}, {}});
  }

  void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    // yaml-cpp's own marks: "?" for plain, "!" for quoted scalars, empty for lists and maps.
    if (!tag.empty() && tag != "?" && tag != "!") {
      complain(mark, "tags are not supported; remove " + quote(tag));
    }
  }

  void refuse_open_quote(const YAML::Mark& mark) {
    const auto begin = static_cast<size_t>(mark.pos);
    const bool quoted = begin < text_.size() && (text_[begin] == '"' || text_[begin] == '\'');
    if (quoted && !is_closed(text_, begin)) {
      stop(mark, "the quote that opens here is never closed");
    }
  }

  void complain(const YAML::Mark& mark, std::string sentence) {
    tree_.complaints.push_back({mark.line + 1, mark.column + 1, std::move(sentence)});
  }
  [[noreturn]] void stop(const YAML::Mark& mark, std::string sentence) {
    throw Stop{{mark.line + 1, mark.column + 1, std::move(sentence)}};
  }

  std::string_view text_;
  YamlTree& tree_;
  std::vector<Open> open_;
  int documents_ = 0;
};

void parse_events(const std::string& text, YamlTree& tree) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  TreeBuilder builder(text, tree);
  while (parser.HandleNextDocument(builder)) {
  }
}

}  // namespace

YamlTree parse_yaml(const std::string& bytes) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";  // yaml-cpp's places leave it out
  const std::string text =
      bytes.substr(bytes.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0);
  YamlTree tree;
  const auto refuse = [&tree](YamlComplaint complaint) {
    tree.complaints.push_back(std::move(complaint));
    tree.root = YamlNode{};
    tree.root.kind = YamlNode::Kind::kRefused;
  };
  if (text.size() > kMaxBytes) {
    refuse({0, 0, "the text is larger than 1 MiB; a configuration is far smaller"});
    return tree;
  }
  if (auto complaint = find_bad_characters(text)) {
    refuse(std::move(*complaint));
    return tree;
  }
  try {
    parse_events(text, tree);
  } catch (const Stop& stop) {
    refuse(stop.complaint);
  } catch (const YAML::Exception& error) {
    const bool placed = !error.mark.is_null();
    refuse({placed ? error.mark.line + 1 : 0,
            placed ? error.mark.column + 1 : 0,
            "this is not YAML: " + error.msg});
  }
  return tree;
}

}  // namespace enodia
