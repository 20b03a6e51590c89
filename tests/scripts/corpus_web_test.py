"""scripts/corpus_web.py: from SWORD's import format to documents."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import corpus_web  # noqa: E402


class CorpusWeb(unittest.TestCase):
    def test_footnotes_become_spaces_and_tags_vanish(self):
        markup = ('<w lemma="x">God</w><note place="foot">Hebrew <w>Elohim</w></note><w>created</w>\n'
                  '<l level="1"/>heaven &amp; <b>ear</b>th.')
        self.assertEqual(corpus_web.plain_text(markup), "God created heaven & earth.")

    def test_a_document_is_a_chapter_and_an_introduction_opens_the_first(self):
        lines = """$$$[ Module Heading ]
left out
$$$Ruth 0:0
The Book of Ruth
$$$Ruth 1:0
$$$Ruth 1:1
In the days
$$$Ruth 1:2
when judges judged.
$$$Ruth 2:1
Naomi had a relative.
$$$I Samuel 0:0
$$$I Samuel 1:1
There was a man.
""".splitlines(keepends=True)
        self.assertEqual(corpus_web.documents(lines), [
            "The Book of Ruth In the days when judges judged.",
            "Naomi had a relative.",
            "There was a man."])

    def run_script(self, folder, text):
        return subprocess.run(
            [sys.executable, SCRIPTS / "corpus_web.py", folder], input=text, text=True,
            encoding="utf-8", capture_output=True)

    def test_every_twentieth_chapter_is_held_out(self):
        text = "".join(f"$$$Job {chapter}:1\nJob’s verse {chapter}\n" for chapter in range(1, 43))
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(self.run_script(folder, text).returncode, 0)
            train, valid = (
                [json.loads(line)["text"] for line in Path(folder, name).read_text("utf-8").split("\n")[:-1]]
                for name in ("train.jsonl", "valid.jsonl"))
        self.assertEqual(valid, ["Job’s verse 20", "Job’s verse 40"])
        self.assertEqual(train, [f"Job’s verse {i}" for i in range(1, 43) if i not in (20, 40)])

    def test_an_empty_module_is_an_error(self):
        with tempfile.TemporaryDirectory() as folder:
            result = self.run_script(folder, "")
            self.assertEqual(result.returncode, 1)
            self.assertIn("only 0 chapters", result.stderr)
            self.assertEqual(list(Path(folder).iterdir()), [])


if __name__ == "__main__":
    unittest.main()
