#include "trainer/config/yaml_tree.h"

#include <cstdint>
#include <map>
#include <optional>
#include <sstream>
#include <string_view>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include "common/check.h"
#include "trainer/config/wording.h"

namespace enodia {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 20;
constexpr size_t kMaxDepth = 16;

/// Thrown out of the parser's events to stop it before it recurses further.
struct Stop {
  YamlComplaint complaint;
};

/// Bytes of the UTF-8 character at the front, 0 when it is not one (RFC 3629: no overlong forms, no
/// surrogates, nothing above U+10FFFF).
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) {
    return 1;
  }
  const size_t length = lead >= 0xc2 && lead <= 0xdf   ? 2
                        : (lead & 0xf0) == 0xe0        ? 3
                        : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                       : 0;
  if (length == 0 || length > text.size()) {
    return 0;
  }
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) {
      return 0;
    }
  }
  const bool overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  const bool no_character = (lead == 0xed && byte(1) >= 0xa0) || (lead == 0xf4 && byte(1) >= 0x90);
  return overlong || no_character ? 0 : length;
}

/// Why the character at the front of `rest` has no place in a configuration, empty when it has one.
std::string refuse_character(std::string_view rest, bool indenting) {
  if (utf8_length(rest) == 0) {
    return "this is not UTF-8 text; save the file as plain UTF-8";
  }
  const char c = rest.front();
  if (c == '\t' && indenting) {
    return "a tab cannot indent YAML; use spaces";
  }
  const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  if (control && c != '\n' && c != '\r' && c != '\t') {
    return "control character " + quote(rest.substr(0, 1)) + "; a configuration is plain text";
  }
  return "";
}

/// What must not even reach the YAML parser.
std::optional<YamlComplaint> find_bad_characters(std::string_view text) {
  int line = 1;
  int column = 1;
  bool indenting = true;
  for (size_t i = 0; i < text.size(); i += utf8_length(text.substr(i))) {
    const std::string refusal = refuse_character(text.substr(i), indenting);
    if (!refusal.empty()) {
      return YamlComplaint{line, column, refusal};
    }
    const bool ends_line = text[i] == '\n';
    indenting = ends_line || (indenting && text[i] == ' ');
    column = ends_line ? 1 : column + static_cast<int>(utf8_length(text.substr(i)));
    line += ends_line ? 1 : 0;
  }
  return std::nullopt;
}

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
