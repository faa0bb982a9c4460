//! Sign-off, withdrawal and deletion in random order, many at a time, on real claims (F 2): no allow after an
//! acknowledged withdrawal (I 4), and an approval that stands is honoured (I 18).

use std::cell::Cell;
use std::ops::AddAssign;
use std::rc::Rc;

use foureyes_testbed::{Cluster, Environment};
use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet, spawn_local};

use crate::support::{Asked, BED, Dice, Refused, Who, claim, claim_path, found, refused, request, runtime, until};

const WORKERS: u64 = 20;
const ROUNDS: u64 = 25;
/// One in so many rounds deletes for good.
const REAL: u64 = 8;
/// Milliseconds between two things that one person does.
const PAUSE: u64 = 60;
const ANNOTATION: &str = "foureyes.dev/approved-by";

struct People {
    admin: Who,
    alice: Who,
    bob: Who,
    carol: Who,
    eve: Who,
}

/// What may count as an approval, seen from outside: from before it was asked for until its withdrawal was
/// acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Approvals {
    possible: u32,
    ever: u32,
}

/// What was seen in all, so that a test that saw nothing is not taken for one that passed.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    allowed: u32,
    refused: u32,
    /// Deletions that began after a withdrawal and ended before another approval.
    after_withdrawal: u32,
    withdrawals: u32,
    real: u32,
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.allowed += other.allowed;
        self.refused += other.refused;
        self.after_withdrawal += other.after_withdrawal;
        self.withdrawals += other.withdrawals;
        self.real += other.real;
    }
}

/// One claim, and what is said and tried about it.
struct Scene {
    people: Rc<People>,
    path: String,
    uid: String,
    /// The short digest of its inventory.
    digest: String,
    approvals: Cell<Approvals>,
    /// A trial was allowed without an approval while a real deletion was under way.
    suspected: Cell<bool>,
    seen: Cell<Seen>,
}

/// An approval that was acknowledged.
enum Given {
    SignOff { by: Who, path: String },
    Annotation,
}

impl Scene {
    async fn new(people: &Rc<People>, namespace: &str, name: &str, dice: &mut Dice) -> Self {
        let uid = claim(&people.admin, namespace, name).await;
        let path = claim_path(namespace, name);
        let digest = settled_digest(&people.eve, &path).await;
        // of the others the controller opens the request, for the first annotation
        if dice.below(2) == 0 {
            Asked::by(&people.carol, &people.admin, &request(namespace, Some(name), &uid)).await;
        }
        let (approvals, suspected, seen) = (Cell::default(), Cell::default(), Cell::default());
        Self { people: Rc::clone(people), path, uid, digest, approvals, suspected, seen }
    }

    fn saw(&self, more: Seen) {
        let mut seen = self.seen.get();
        seen += more;
        self.seen.set(seen);
    }

    async fn deletes(&self, dry_run: bool) -> Result<Value, Refused> {
        let began = self.approvals.get();
        let eve = &self.people.eve;
        let answer = if dry_run { eve.tries_to_delete(&self.path).await } else { eve.delete(&self.path).await };
        let ended = self.approvals.get();
        let none = began.possible == 0 && began.ever == ended.ever;
        if none && answer.is_ok() {
            // one that is going may be deleted again: whether it was is known later
            assert!(dry_run && self.seen.get().real > 0, "{} was let go without an approval: {ended:?}", self.path);
            self.suspected.set(true);
        }
        self.saw(Seen {
            allowed: answer.is_ok().into(),
            refused: answer.is_err().into(),
            after_withdrawal: (none && began.ever > 0).into(),
            ..Seen::default()
        });
        answer
    }

    /// Nothing, if the same person has approved already.
    async fn approves(&self, dice: &mut Dice) -> Option<Given> {
        let person = if dice.below(2) == 0 { &self.people.alice } else { &self.people.bob };
        let request = Asked::about(&self.people.admin, &self.uid).await.pop();
        let Approvals { possible, ever } = self.approvals.get();
        self.approvals.set(Approvals { possible: possible + 1, ever: ever + 1 });
        match request {
            Some(request) if dice.below(3) > 0 => {
                let said = Asked::of(&self.people.admin, &request).said(person, "Approve").await;
                match said {
                    Ok(path) => Some(Given::SignOff { by: person.clone(), path }),
                    Err(refused) => {
                        assert!(possible > 0 && refused.message.contains("[AlreadySaid]"), "{refused}");
                        let approvals = self.approvals.get();
                        self.approvals.set(Approvals { possible: approvals.possible - 1, ..approvals });
                        None
                    }
                }
            }
            _ => {
                let annotated = json!({"metadata": {"annotations": {ANNOTATION: format!("me@{}", self.digest)}}});
                let answer = person.merge(&self.path, &annotated).await;
                answer.unwrap_or_else(|refused| panic!("{refused}"));
                Some(Given::Annotation)
            }
        }
    }

    /// By its author, or of an annotation by anybody. Of what is in use nothing is withdrawn any more.
    async fn withdraws(&self, given: &Given) {
        let answer = match given {
            Given::SignOff { by, path } => by.delete(path).await,
            Given::Annotation => {
                let removed = json!({"metadata": {"annotations": {ANNOTATION: null}}});
                self.people.carol.merge(&self.path, &removed).await
            }
        };
        match answer {
            Ok(_) => {
                let approvals = self.approvals.get();
                self.approvals.set(Approvals { possible: approvals.possible - 1, ..approvals });
                self.saw(Seen { withdrawals: 1, ..Seen::default() });
            }
            Err(refused) => {
                let gone = self.seen.get().real > 0;
                assert!(gone && (refused.code == 404 || refused.message.contains("RequestInUse")), "{refused}");
            }
        }
    }

    async fn honoured(&self) {
        until("a valid approval to be honoured", async || self.deletes(true).await.is_ok()).await;
    }

    /// Approvals come and go while deletions are tried.
    async fn round(self: &Rc<Self>, dice: &mut Dice, real: bool) {
        let tries = (Rc::clone(self), dice.clone(), 2 + dice.below(4));
        let tries = spawn_local(async move {
            let (scene, mut dice, times) = tries;
            for _ in 0..times {
                tokio::time::sleep(dice.pause(PAUSE)).await;
                drop(scene.deletes(true).await);
            }
        });
        tokio::time::sleep(dice.pause(PAUSE)).await;
        let mut given: Vec<Given> = self.approves(dice).await.into_iter().collect();
        // an object has one annotation
        let again = matches!(given[..], [Given::SignOff { .. }]) && dice.below(4) == 0;
        tokio::time::sleep(dice.pause(PAUSE)).await;
        if again {
            given.extend(self.approves(dice).await);
        }
        if real || dice.below(2) == 0 {
            self.honoured().await;
        }
        let racing = real.then(|| {
            self.saw(Seen { real: 1, ..Seen::default() });
            let (scene, pause) = (Rc::clone(self), dice.pause(10));
            spawn_local(async move {
                tokio::time::sleep(pause).await;
                scene.deletes(false).await.is_ok()
            })
        });
        tokio::time::sleep(dice.pause(if real { 10 } else { PAUSE })).await;
        for given in given {
            self.withdraws(&given).await;
        }
        drop(self.deletes(true).await);
        tries.await.unwrap();
        if let Some(racing) = racing {
            let gone = racing.await.unwrap();
            self.ends(gone).await;
        }
    }

    /// A deletion that was let go is used up; one that was not has touched nothing.
    async fn ends(&self, gone: bool) {
        let admin = &self.people.admin;
        if !gone {
            assert!(!self.suspected.get(), "{}: a trial was allowed without an approval", self.path);
            let claim = admin.get(&self.path).await.unwrap();
            assert_eq!(claim["metadata"]["deletionTimestamp"], Value::Null, "refused, and going");
            return;
        }
        until("the claim to be gone", async || admin.sees(&self.path).await.is_none()).await;
        found("the requests to have ended", async || {
            let requests = Asked::about(admin, &self.uid).await;
            let ended = |request: &Value| {
                ["Executed", "Cancelled"].contains(&request["status"]["phase"].as_str().unwrap_or_default())
            };
            (!requests.is_empty() && requests.iter().all(ended)).then_some(())
        })
        .await;
    }
}

/// What the refusal names when both webhooks have seen the claim and its volume as they are: under load one may be a
/// moment behind the other.
async fn settled_digest(eve: &Who, path: &str) -> String {
    let (mut last, mut same) = (String::new(), 0);
    until("both webhooks to say the same", async || {
        let refusal = refused("DeletionNotRequested", eve.tries_to_delete(path).await);
        let at = refusal.find("=me@").unwrap() + 4;
        let digest: String = refusal[at..].chars().take_while(char::is_ascii_hexdigit).collect();
        same = if digest == last { same + 1 } else { 0 };
        last = digest;
        same >= 5 && refusal.contains("volume ")
    })
    .await;
    last
}

async fn worker(people: Rc<People>, namespace: String, number: u64, begin: u64) -> Seen {
    let mut dice = Dice::of(begin.wrapping_add(number));
    let mut seen = Seen::default();
    let mut scene = Rc::new(Scene::new(&people, &namespace, &format!("c-{number}"), &mut dice).await);
    for round in 0..ROUNDS {
        let real = dice.below(REAL) == 0;
        scene.round(&mut dice, real).await;
        if real {
            seen += scene.seen.get();
            let name = format!("c-{number}-{round}");
            scene = Rc::new(Scene::new(&people, &namespace, &name, &mut dice).await);
        }
    }
    // after all that came and went, an approval is an approval, and is used once
    scene.approves(&mut dice).await;
    scene.honoured().await;
    // The controller may yet write what followed from the withdrawal before this approval: a phase can refuse.
    until("a valid approval to be used", async || scene.deletes(false).await.is_ok()).await;
    scene.ends(true).await;
    seen += scene.seen.get();
    seen
}

async fn people(cluster: &Cluster) -> Rc<People> {
    let who = async |person| Who::is(cluster, person).await;
    let (admin, alice, bob) = (who("admin").await, who("alice").await, who("bob").await);
    Rc::new(People { admin, alice, bob, carol: who("carol").await, eve: who("eve").await })
}

#[test]
fn nothing_is_allowed_after_a_withdrawal_and_what_is_approved_is_allowed() {
    let _turn = BED.together();
    let cluster = BED.cluster();
    let begin = Dice::seed();
    let namespace = cluster.namespace("interleaved", Environment::Production).unwrap();
    let seen = LocalSet::new().block_on(&runtime(), async {
        let people = people(cluster).await;
        let mut workers = JoinSet::new();
        for number in 0..WORKERS {
            workers.spawn_local(worker(Rc::clone(&people), namespace.clone(), number, begin));
        }
        let mut all = Seen::default();
        while let Some(seen) = workers.join_next().await {
            all += seen.unwrap_or_else(|error| panic!("seed {begin}: {error}"));
        }
        all
    });
    println!("{} interleavings: {seen:?}", WORKERS * ROUNDS);
    assert!(seen.after_withdrawal >= 500 && seen.allowed >= 250, "{seen:?}");
}
