//! Sorted values of a kind of which there are thousands. They lie side by side in short pieces: cloning shares the
//! pieces and a change copies one, so that a reader keeps what it has, and a value takes little more than its own size.
//! A tree with a node for every value takes several times that.

use std::cmp::Ordering;
use std::sync::Arc;

/// Values in a piece at most.
const MOST: usize = 64;

/// How a value stands to what is looked for. It must agree with the order of the values.
pub trait Order<T>: Fn(&T) -> Ordering {}

impl<T, F: Fn(&T) -> Ordering> Order<T> for F {}

/// No piece is empty. Cloning shares everything.
#[derive(Clone)]
pub struct Pieces<T>(Arc<Vec<Arc<Vec<T>>>>);

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Pieces<T> {
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|piece| piece.iter())
    }

    pub fn get(&self, order: impl Order<T>) -> Option<&T> {
        let (piece, place) = self.find(order);
        self.0.get(piece)?.get(place.ok()?)
    }

    /// All for which this is equal, in their order.
    pub fn all<O: Order<T>>(&self, order: O) -> impl Iterator<Item = &T> + use<'_, T, O> {
        let first = self.0.partition_point(|piece| piece.last().is_some_and(|last| order(last).is_lt()));
        let pieces = self.0.get(first..).unwrap_or_default();
        let skip = pieces.first().map_or(0, |piece| piece.partition_point(|value| order(value).is_lt()));
        pieces.iter().flat_map(|piece| piece.iter()).skip(skip).take_while(move |value| order(value).is_eq())
    }

    /// Puts a value in, in place of the one that is equal to it, if there is one.
    pub fn put(&mut self, value: T, order: impl Order<T>) {
        let (at, place) = self.find(order);
        let pieces = Arc::make_mut(&mut self.0);
        let count = pieces.len();
        let Some(piece) = pieces.get_mut(at) else {
            pieces.push(Arc::new(vec![value]));
            return;
        };
        let piece = Arc::make_mut(piece);
        match place {
            Ok(place) => piece[place] = value,
            // Lists come sorted, and would leave half of every piece empty.
            Err(place) if place == MOST && at + 1 == count => pieces.push(Arc::new(vec![value])),
            Err(place) if piece.len() < MOST => piece.insert(place, value),
            Err(place) => {
                let mut upper = piece.split_off(MOST / 2);
                match place.checked_sub(MOST / 2) {
                    Some(place) => upper.insert(place, value),
                    None => piece.insert(place, value),
                }
                pieces.insert(at + 1, Arc::new(upper));
            }
        }
    }

    /// Takes a value out.
    pub fn take(&mut self, order: impl Order<T>) -> Option<T> {
        let (at, place) = self.find(order);
        let place = place.ok()?;
        let pieces = Arc::make_mut(&mut self.0);
        let piece = Arc::make_mut(pieces.get_mut(at)?);
        let value = piece.remove(place);
        if piece.is_empty() {
            pieces.remove(at);
        }
        Some(value)
    }

    /// The piece that has it, or would have it, and where in it.
    fn find(&self, order: impl Order<T>) -> (usize, Result<usize, usize>) {
        let behind = self.0.partition_point(|piece| piece.last().is_some_and(|last| order(last).is_lt()));
        // What is greater than all goes to the end of the last piece.
        let at = behind.min(self.0.len().saturating_sub(1));
        let place = self.0.get(at).map_or(Err(0), |piece| piece.binary_search_by(order));
        (at, place)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn order(wanted: u16) -> impl Order<u16> {
        move |value: &u16| value.cmp(&wanted)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn they_hold_what_a_set_holds(changes in proptest::collection::vec((0..300_u16, 0..4_u8), 0..900)) {
            let (mut pieces, mut set) = (Pieces::default(), BTreeSet::new());
            for (value, what) in changes {
                if what == 0 {
                    prop_assert_eq!(pieces.take(order(value)).is_some(), set.remove(&value));
                } else {
                    pieces.put(value, order(value));
                    set.insert(value);
                }
            }
            prop_assert!(pieces.iter().eq(set.iter()));
            prop_assert!(pieces.0.iter().all(|piece| (1..=MOST).contains(&piece.len())));
            for value in 0..300 {
                prop_assert_eq!(pieces.get(order(value)), set.get(&value));
                let tens = |of: &u16| (of / 10).cmp(&(value / 10));
                prop_assert!(pieces.all(tens).eq(set.iter().filter(|of| *of / 10 == value / 10)));
            }
        }
    }

    #[test]
    fn a_clone_stays_as_it_was() {
        let mut pieces = Pieces::default();
        (0..200).for_each(|value| pieces.put(value, order(value)));
        let held = pieces.clone();
        (0..200).step_by(2).for_each(|value| assert_eq!(pieces.take(order(value)), Some(value)));
        assert!(held.iter().copied().eq(0..200));
        assert_eq!(pieces.iter().count(), 100);
    }
}
