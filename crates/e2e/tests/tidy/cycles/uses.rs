//! The modules of a crate, what each defines and imports, and which items of which module its code names.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

use super::graph::Use;
use crate::tree::{SourceFile, is_test};

/// The names from the crate's root to a module or an item.
type Names = Vec<String>;

/// How often a re-export may lead to another one.
const MAX_STEPS: usize = 20;

/// The library of one crate: its modules by their names from the root.
pub(super) struct Crate(BTreeMap<Names, Module>);

#[derive(Default)]
struct Module {
    file: String,
    /// The names of the items that it defines.
    items: BTreeSet<String>,
    imports: Vec<Import>,
    /// The paths in its code, each with the inline module that it is written in.
    paths: Vec<Named>,
}

struct Named {
    /// The names of the inline modules around it.
    inside: Names,
    names: Names,
    line: usize,
}

/// One name that a `use` brings in.
struct Import {
    path: Named,
    /// `None` for `*`.
    binds: Option<String>,
    is_public: bool,
}

impl Crate {
    /// Reads the files below `root`, which ends with `src/`.
    pub(super) fn read(root: &str, files: &[SourceFile]) -> Self {
        let mut modules = BTreeMap::new();
        for file in files.iter().filter(|file| file.is_rust()) {
            let Some(path) = file.path.strip_prefix(root).and_then(|path| path.strip_suffix(".rs")) else {
                continue;
            };
            if path == "main" || path.starts_with("bin/") {
                continue;
            }
            let names = if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() };
            let mut reader = Reader::default();
            if let Ok(parsed) = syn::parse_file(&file.text) {
                reader.visit_file(&parsed);
            }
            reader.module.file.clone_from(&file.path);
            modules.insert(names, reader.module);
        }
        Self(modules)
    }

    /// Every use of an item of another module.
    pub(super) fn uses(&self) -> Vec<Use> {
        let mut uses = Vec::new();
        for (from, module) in &self.0 {
            let imported = module.imports.iter().filter_map(|import| {
                let names = self.absolute(from, &import.path, false)?;
                let to = match import.binds {
                    Some(_) => self.defining(&names, 0)?,
                    None => names,
                };
                let is_re_export_from_below = import.is_public && to.starts_with(from);
                (!is_re_export_from_below).then_some((to, &import.path))
            });
            let named = module.paths.iter().filter_map(|path| {
                let names = self.absolute(from, path, true)?;
                Some((self.defining(&names, 0)?, path))
            });
            for (to, path) in imported.chain(named) {
                if to != *from && self.0.contains_key(&to) {
                    let item = path.names.last().cloned().unwrap_or_default();
                    let (from, to, file) = (show(from), show(&to), module.file.clone());
                    uses.push(Use { from, to, item, file, line: path.line });
                }
            }
        }
        uses
    }

    /// A path in the code of a module as names from the root; `None` if it leads out of the crate. In code, a path may begin
    /// with what the module imports.
    fn absolute(&self, module: &Names, path: &Named, in_code: bool) -> Option<Names> {
        let mut base = [module.as_slice(), &path.inside].concat();
        let mut rest = path.names.as_slice();
        let mut is_relative = false;
        while let Some((first, more)) = rest.split_first() {
            match first.as_str() {
                "crate" => base.clear(),
                "super" => drop(base.pop()),
                "self" => {}
                _ => break,
            }
            (rest, is_relative) = (more, true);
        }
        if is_relative {
            return Some([&base, rest].concat());
        }
        let (first, more) = rest.split_first()?;
        if self.0.contains_key(&[module.as_slice(), std::slice::from_ref(first)].concat()) {
            return Some([module.as_slice(), rest].concat());
        }
        let binds = |import: &&Import| import.binds.as_ref() == Some(first);
        let import = self.0.get(module)?.imports.iter().filter(|_| in_code).find(binds)?;
        Some([self.absolute(module, &import.path, false)?.as_slice(), more].concat())
    }

    /// The module that defines an item; `None` if the names are those of a module.
    fn defining(&self, names: &[String], steps: usize) -> Option<Names> {
        let is_module = |length: &usize| self.0.contains_key(&names[..*length]);
        let (module, rest) = names.split_at((0..=names.len()).rev().find(is_module)?);
        let item = rest.first()?;
        let found = self.0.get(module)?;
        if found.items.contains(item) || steps > MAX_STEPS {
            return Some(module.to_vec());
        }
        for import in &found.imports {
            let binds_it = import.binds.as_ref() == Some(item);
            if let Some(origin) = self.absolute(&module.to_vec(), &import.path, false) {
                if binds_it {
                    return self.defining(&[origin.as_slice(), &rest[1..]].concat(), steps + 1);
                }
                let globbed = self.0.get(&origin).filter(|_| import.binds.is_none());
                if globbed.is_some_and(|globbed| globbed.items.contains(item)) {
                    return Some(origin);
                }
            }
        }
        Some(module.to_vec())
    }
}

fn show(names: &Names) -> String {
    if names.is_empty() { "the root".to_owned() } else { names.join("::") }
}

/// Reads one file.
#[derive(Default)]
struct Reader {
    module: Module,
    inside: Names,
}

impl Reader {
    fn named(&self, names: Names, line: usize) -> Named {
        Named { inside: self.inside.clone(), names, line }
    }

    fn import(&mut self, tree: &syn::UseTree, mut before: Names, is_public: bool) {
        let line = tree.span().start().line;
        let (names, binds) = match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                return self.import(&path.tree, before, is_public);
            }
            syn::UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(tree, before.clone(), is_public));
            }
            syn::UseTree::Name(name) if name.ident == "self" => (before.clone(), before.last().cloned()),
            syn::UseTree::Name(name) => {
                before.push(name.ident.to_string());
                (before, Some(name.ident.to_string()))
            }
            syn::UseTree::Rename(rename) => {
                before.push(rename.ident.to_string());
                (before, Some(rename.rename.to_string()))
            }
            syn::UseTree::Glob(_) => (before, None),
        };
        self.module.imports.push(Import { path: self.named(names, line), binds, is_public });
    }

    /// The paths in tokens that syn has not parsed: those of macros and attributes.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut names = Names::new();
        let (mut colons, mut line) = (0, 0);
        for token in tokens {
            match &token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end_of_path(&mut names, line);
                    }
                    line = ident.span().start().line;
                    names.push(ident.to_string());
                }
                TokenTree::Group(group) => {
                    self.end_of_path(&mut names, line);
                    self.tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => self.end_of_path(&mut names, line),
            }
            colons = 0;
        }
        self.end_of_path(&mut names, line);
    }

    fn end_of_path(&mut self, names: &mut Names, line: usize) {
        if !names.is_empty() {
            let path = self.named(std::mem::take(names), line);
            self.module.paths.push(path);
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (name, attributes) = match item {
            syn::Item::Const(item) => (Some(&item.ident), &item.attrs),
            syn::Item::Enum(item) => (Some(&item.ident), &item.attrs),
            syn::Item::Fn(item) => (Some(&item.sig.ident), &item.attrs),
            syn::Item::Static(item) => (Some(&item.ident), &item.attrs),
            syn::Item::Struct(item) => (Some(&item.ident), &item.attrs),
            syn::Item::Trait(item) => (Some(&item.ident), &item.attrs),
            syn::Item::Type(item) => (Some(&item.ident), &item.attrs),
            syn::Item::Union(item) => (Some(&item.ident), &item.attrs),
            syn::Item::Macro(item) => (item.ident.as_ref(), &item.attrs),
            syn::Item::Mod(item) => (item.content.as_ref().map(|_| &item.ident), &item.attrs),
            syn::Item::Impl(item) => (None, &item.attrs),
            syn::Item::Use(item) => (None, &item.attrs),
            _ => return visit::visit_item(self, item),
        };
        if is_test(attributes) {
            return;
        }
        if self.inside.is_empty() {
            self.module.items.extend(name.map(ToString::to_string));
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_some() {
            self.inside.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.inside.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_public = !matches!(item.vis, syn::Visibility::Inherited);
        self.import(&item.tree, Names::new(), is_public);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let used = self.named(names, path.span().start().line);
        self.module.paths.push(used);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        self.tokens(called.tokens.clone());
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        self.tokens(list.tokens.clone());
    }
}
