"""Trains a tiny GPT-2 on text adventures that TextWorld makes and plays: the narrator of the profile "tiny".

    pip install textworld==1.7.0 torch transformers safetensors
    python apps/dungeon/models/train_tiny_gpt2.py /tmp/tiny_gpt2 --games 70 --train-s 800

Games with other seeds are held out. It is good enough when they cost at most 0.6 bits a character; the exit code says
whether that was reached. The numbers above reached 0.55 on one core; 1,400 seconds on the same games reached no more.
That is the form of a reply, and not its sense.
"""

import argparse
import math
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import textworld
import torch
from textworld import EnvInfos, GameOptions
from textworld.generator import compile_game, make_game
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

END = "<|endoftext|>"
CONTEXT_TOKENS = 256
GOOD_BITS_PER_CHAR = 0.6
_STATUS_LINE = re.compile(r"\n?>?\s*-= .* =-\S*\s*$", re.MULTILINE)


def main() -> int:
    """Play, train, judge, save."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("target", type=Path, help="the folder that the model is written into")
    asked.add_argument("--games", type=int, default=70)
    asked.add_argument("--episodes", type=int, default=20, help="of each game")
    asked.add_argument("--train-s", type=float, default=800, help="processor seconds of training")
    asked.add_argument("--seed", type=int, default=1)
    options = asked.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    dice = random.Random(options.seed)  # noqa: S311 (games, not secrets)
    texts = [episode for game in range(options.games) for episode in play(game, options.episodes, dice)]
    held_out = [episode for game in range(10_000, 10_006) for episode in play(game, 4, dice)]
    tokenizer = learn_words(texts)
    model = train(tokenizer, texts, options.train_s, dice)
    bits = bits_per_char(model, tokenizer, held_out)
    model.save_pretrained(options.target)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, bos_token=END).save_pretrained(options.target)
    print(f"{bits:.3f} bits a character on games it has not seen; at most {GOOD_BITS_PER_CHAR} is good enough")
    return 0 if bits <= GOOD_BITS_PER_CHAR else 1


def play(seed: int, episodes: int, dice: random.Random) -> Iterator[str]:
    """Transcripts of one game: "> command" and reply in turn, with the things in it renamed for each episode."""
    options = GameOptions()
    options.seeds = seed
    options.nb_rooms, options.nb_objects, options.quest_length = 2 + seed % 4, 5 + seed % 6, 2 + seed % 3
    with tempfile.TemporaryDirectory() as folder:
        options.path = folder
        game = make_game(options)
        names = sorted({entity.name for entity in game.infos.values() if entity.name and len(entity.name) > 2})
        file = compile_game(game, options)
        wanted = EnvInfos(admissible_commands=True, policy_commands=True, feedback=True)
        world = textworld.start(file, wanted)
        for _ in range(episodes):
            yield renamed("".join(turns(world, dice)), names, dice)
        world.close()


def turns(world: textworld.Environment, dice: random.Random, most: int = 25) -> Iterator[str]:
    """One episode: half of the commands lead to the goal, half are any that the game takes."""
    state = world.reset()
    for _ in range(most):
        toward = list(state.policy_commands or ())
        command = toward[0] if toward and dice.random() < 0.5 else dice.choice(list(state.admissible_commands))
        state, _, done = world.step(command)
        yield f"> {command}\n{_STATUS_LINE.sub('', state.feedback).strip()}\n"
        if done:
            break
    yield END


def renamed(text: str, names: Sequence[str], dice: random.Random) -> str:
    """The text with its things called otherwise: a model that learns the names by heart has learnt nothing."""
    others = list(names)
    dice.shuffle(others)
    change = dict(zip(names, others, strict=True))
    if not change:
        return text
    return re.sub("|".join(sorted(map(re.escape, names), key=len, reverse=True)), lambda at: change[at[0]], text)


def learn_words(texts: Sequence[str]) -> Tokenizer:
    """A byte-level vocabulary of the transcripts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=4000, special_tokens=[END], initial_alphabet=alphabet)
    )
    return tokenizer


def train(tokenizer: Tokenizer, texts: Sequence[str], train_s: float, dice: random.Random) -> GPT2LMHeadModel:
    """A model of four layers, for so many processor seconds; the learning rate ends at zero."""
    config = GPT2Config(
        vocab_size=tokenizer.get_vocab_size(), n_layer=4, n_embd=192, n_head=6, n_positions=CONTEXT_TOKENS,
        bos_token_id=0, eos_token_id=0, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    stream = torch.tensor([token for text in texts for token in tokenizer.encode(text).ids])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    started_s = time.process_time()
    while (spent := (time.process_time() - started_s) / train_s) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, spent * 20) * 0.5 * (1 + math.cos(math.pi * spent))
        starts = [dice.randrange(max(1, len(stream) - CONTEXT_TOKENS)) for _ in range(12)]
        batch = torch.stack([stream[start : start + CONTEXT_TOKENS] for start in starts])
        loss = model(batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def bits_per_char(model: GPT2LMHeadModel, tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """What the model needs to know to write `texts`."""
    bits, chars = 0.0, 0
    with torch.inference_mode():
        for text in texts:
            ids = tokenizer.encode(text).ids
            for start in range(0, len(ids) - 1, CONTEXT_TOKENS):
                part = torch.tensor([ids[start : start + CONTEXT_TOKENS]])
                if part.shape[1] > 1:
                    bits += model(part, labels=part).loss.item() / math.log(2) * (part.shape[1] - 1)
            chars += len(text)
    return bits / chars


if __name__ == "__main__":
    sys.exit(main())
