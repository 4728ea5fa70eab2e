//! A page, parsed: its elements balanced, and their attributes and text to ask for.

use html5gum::{Token, Tokenizer, emitters::default::DefaultEmitter};

/// Elements that have no end.
const VOID: [&str; 5] = ["br", "link", "meta", "input", "img"];

/// An element that begins.
#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
}

impl Element {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) elements: Vec<Element>,
    /// All text that is shown.
    pub(crate) text: String,
    /// What is between `script` and its end.
    pub(crate) scripts: Vec<String>,
    /// What is between `style` and its end.
    pub(crate) styles: Vec<String>,
}

impl Page {
    /// Fails where `html` is not well-formed, as parsers that repair it would not.
    #[track_caller]
    pub(crate) fn parse(html: &str) -> Self {
        let mut page = Self::default();
        let mut open: Vec<String> = Vec::new();
        let mut emitter = DefaultEmitter::<()>::default();
        // What is in a script or a style is no HTML.
        emitter.naively_switch_states(true);
        for token in Tokenizer::new_with_emitter(html, emitter)
            .map(|token| token.expect("it is read from memory"))
        {
            match token {
                Token::StartTag(tag) => page.begin(&tag, &mut open),
                Token::EndTag(tag) => {
                    let name = text(&tag.name);
                    assert_eq!(open.pop().as_deref(), Some(&*name), "what ends has begun");
                }
                Token::String(string) => page.say(&text(&string), open.last()),
                Token::Error(error) => panic!("not well-formed: {error:?}"),
                Token::Doctype(doctype) => assert_eq!(text(&doctype.name), "html"),
                Token::Comment(_) => panic!("a comment is dead weight"),
            }
        }
        assert!(open.is_empty(), "it is cut off in {open:?}");
        page
    }

    fn begin(&mut self, tag: &html5gum::StartTag<()>, open: &mut Vec<String>) {
        let name = text(&tag.name);
        let attributes = tag.attributes.iter().map(|(name, value)| (text(name), text(value)));
        self.elements.push(Element { name: name.clone(), attributes: attributes.collect() });
        if !VOID.contains(&&*name) && !tag.self_closing {
            open.push(name);
        }
    }

    fn say(&mut self, said: &str, inside: Option<&String>) {
        match inside.map(String::as_str) {
            Some("script") => self.scripts.push(said.to_owned()),
            Some("style") => self.styles.push(said.to_owned()),
            _ => {
                self.text.push_str(said);
                self.text.push(' ');
            }
        }
    }

    pub(crate) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.elements.iter().filter(move |element| element.name == name)
    }

    pub(crate) fn with_id(&self, id: &str) -> Option<&Element> {
        self.elements.iter().find(|element| element.get("id") == Some(id))
    }

    /// The numbers for the script.
    pub(crate) fn data(&self) -> serde_json::Value {
        serde_json::from_str(&self.scripts[0]).expect("it is JSON")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it is UTF-8")
}
