// conary/commands/trust.rs
//! `conary trust`: the keys that a store trusts, and how many of them must have signed what is installed.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use store::ccs::PublicKey;
use store::{Policy, Store};

use crate::cli::{JsonArg, StoreArgs};
use crate::commands::Context;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::ui::text;

const EXAMPLES: &str = "\
The policy and the keys belong to a store. What is installed into a root is asked of the root's own store:
name it with `--root DIR`, or with `--store DIR` where several roots share one.

Policies:
  unsigned  anything may be installed (the default)
  signed    one trusted key must have signed a package
  N         so many different trusted keys must have

A signature by a trusted key that is not valid is refused under every policy.

Examples:
  conary trust add builder builder.pub --root /srv/root
  conary trust policy signed --root /srv/root
  conary trust policy 2-of-3 --root /srv/root
  conary trust list --root /srv/root
  conary trust remove builder --root /srv/root";

/// Name the keys that packages must be signed by
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// Whose trust.
#[derive(Debug, Args)]
struct Whose {
    /// The root whose own store it is
    #[arg(long, value_name = "DIR", conflicts_with = "store")]
    root: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

/// What to do about trust.
#[derive(Debug, Subcommand)]
enum Action {
    /// Trust a key under a name
    #[command(after_long_help = EXAMPLES)]
    Add {
        /// What the key is called here
        name: String,
        /// The file with the public key, or the key itself (`ed25519:…`)
        #[arg(value_name = "KEY")]
        key: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// List the trusted keys
    #[command(after_long_help = EXAMPLES)]
    List {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Trust a key no more
    #[command(after_long_help = EXAMPLES)]
    Remove {
        /// Its name, or the key itself
        name: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Print the policy, or set it
    #[command(after_long_help = EXAMPLES)]
    Policy {
        /// `unsigned`, `signed`, or K-of-N: how many of the N trusted keys must have signed
        #[arg(value_name = "POLICY")]
        policy: Option<String>,
        #[command(flatten)]
        whose: Whose,
    },
}

impl Whose {
    fn arguments(&self) -> StoreArgs {
        let own = self.root.as_ref().map(|root| root.join("var/lib/conary"));
        StoreArgs { store: own.or_else(|| self.store.store.clone()) }
    }

    fn open(&self, context: &Context<'_>) -> Result<Store, Failure> {
        context.store(&self.arguments())
    }

    fn read(&self, context: &Context<'_>) -> Result<Store, Failure> {
        context.read_store(&self.arguments())
    }
}

/// Changes or shows whom a store trusts.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    match &arguments.action {
        Action::Add { name, key, whose } => add(name, key, whose, context),
        Action::List { whose, json } => list(whose, json.json, context),
        Action::Remove { name, whose } => {
            if !whose.open(context)?.distrust_key(name)? {
                return Err(Failure::new(Code::NotFound, format!("no key called {name} is trusted"))
                    .hint("`conary trust list` shows those that are"));
            }
            context.ui.story("Distrusted", name);
            Ok(Code::Success)
        }
        Action::Policy { policy: None, whose } => {
            let store = whose.read(context)?;
            context.ui.line(&shown(store.policy()?, store.trusted_keys()?.len()))?;
            Ok(Code::Success)
        }
        Action::Policy { policy: Some(text), whose } => set_policy(text, whose, context),
    }
}

fn add(name: &str, key: &str, whose: &Whose, context: &Context<'_>) -> Outcome {
    let read = if key.starts_with("ed25519:") {
        key.parse::<PublicKey>()
    } else {
        let path = context.environment.absolute(key.as_ref());
        let text = std::fs::read_to_string(path).map_err(|error| {
            let failure = Failure::of(Code::NotFound, &error, Some("name a file, or the key itself".to_owned()));
            Failure { message: format!("cannot read {key}"), causes: vec![error.to_string()], ..failure }
        })?;
        PublicKey::from_file(&text)
    };
    let key = read.map_err(|error| Failure::new(Code::Usage, format!("{key}: {error}")))?;
    whose.open(context)?.trust_key(&key, name)?;
    context.ui.story("Trusted", &format!("{name}: {key}"));
    Ok(Code::Success)
}

fn list(whose: &Whose, as_json: bool, context: &Context<'_>) -> Outcome {
    let store = whose.read(context)?;
    let keys = store.trusted_keys()?;
    if as_json {
        let rows: Vec<Value> = keys.iter().map(|row| json!({ "name": row.name, "key": row.key.to_string() })).collect();
        context.ui.json(&json!({ "policy": shown(store.policy()?, rows.len()), "keys": rows }))?;
    } else {
        let rows: Vec<_> = keys.into_iter().map(|row| vec![row.name, row.key.to_string()]).collect();
        context.ui.lines(&text::table(&rows))?;
    }
    Ok(Code::Success)
}

fn set_policy(text: &str, whose: &Whose, context: &Context<'_>) -> Outcome {
    let (number, of) = match text.split_once("-of-") {
        Some((number, of)) => (number, Some(of)),
        None => (text, None),
    };
    let named = of.is_none_or(|of| of.parse::<usize>().is_ok() && number.parse::<u32>().is_ok());
    let Some(policy) = Policy::parse(number).filter(|_| named) else {
        return Err(Failure::new(Code::Usage, format!("`{text}` is no policy"))
            .hint("say `unsigned`, `signed`, `K-of-N`, or a number of keys from 1 to 64"));
    };
    let store = whose.open(context)?;
    let keys = store.trusted_keys()?.len();
    if let Some(of) = of.filter(|of| of.parse() != Ok(keys)) {
        let count = text::count(keys as u64, "key is", "keys are");
        return Err(Failure::new(Code::Usage, format!("`{text}` speaks of {of} keys, and {count} trusted"))
            .hint("see `conary trust list`; `conary trust add` and `remove` come first"));
    }
    if keys < policy.signatures as usize {
        context.ui.warning(&format!("only {keys} keys are trusted, so nothing can be installed under this policy"));
    }
    store.set_policy(policy)?;
    context.ui.story("Policy", &shown(policy, keys));
    Ok(Code::Success)
}

/// A policy as people write it: how many of the keys that are trusted now.
fn shown(policy: Policy, keys: usize) -> String {
    match policy.signatures {
        0 | 1 => policy.to_string(),
        number => format!("{number}-of-{keys}"),
    }
}
