//! Names of objects by something that they have in common. One sorted set of pairs, because nearly everything that is
//! looked up here has one name, and a set for each would take several times the memory.

use std::sync::Arc;

use rpds::RedBlackTreeSetSync;

/// What is in common, and a name. Cloning shares everything.
#[derive(Clone, Default)]
pub struct Pairs(RedBlackTreeSetSync<(Arc<str>, Arc<str>)>);

impl Pairs {
    /// The names with this in common, sorted.
    pub fn of<'a, 'c>(&'a self, common: &'c str) -> impl Iterator<Item = &'a str> + use<'a, 'c> {
        self.from(common).map(|(_, name)| &**name)
    }

    /// How this is already in memory, if there is a name with it.
    pub fn common(&self, common: &str) -> Option<&Arc<str>> {
        self.from(common).next().map(|(common, _)| common)
    }

    fn from<'a, 'c>(&'a self, common: &'c str) -> impl Iterator<Item = &'a (Arc<str>, Arc<str>)> + use<'a, 'c> {
        // No name sorts before the empty one.
        let first = (Arc::from(common), Arc::from(""));
        self.0.range(first..).take_while(move |(other, _)| **other == *common)
    }

    pub fn insert(&mut self, common: &Arc<str>, name: &Arc<str>) {
        self.0.insert_mut((Arc::clone(common), Arc::clone(name)));
    }

    pub fn remove(&mut self, common: &Arc<str>, name: &Arc<str>) {
        self.0.remove_mut(&(Arc::clone(common), Arc::clone(name)));
    }
}
