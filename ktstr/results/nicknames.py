"""Names that mean nothing: 256 adjectives and as many animals, one of each for a byte."""

from __future__ import annotations

_ADJECTIVES = """
    able acid agile amber ample antic arid ashen avid balmy bare bony brash brave brief bright brisk bronze
    bubbly bumpy busy calm casual cheery chief chirpy civil clean clear clever coarse cobalt comfy copper coral
    cosmic crafty creamy cubic curly curvy dainty dapper daring dashing deep dense dewy dim dotted double downy
    dry dusky eager early earthy elder elfin elite epic even faint fair famed fast fiery fine first fit flat
    flinty fluffy foamy fond frank fresh frosty frugal funky fuzzy gentle giant giddy gilded glad gleaming
    golden good grassy great green groovy gusty hale happy hardy hasty hazy hearty hidden high hollow huge
    humble hushed icy ideal indigo inky ivory jazzy jolly jovial jumbo juicy khaki kind knotty lanky large late
    lazy leafy level light lilac lime linen little lofty lone long loyal lucid lunar lush lyric major maroon
    marble merry messy mild milky minty modest moist mossy muted narrow new nifty nimble noisy nutty oaken ochre
    odd onyx open opal outer oval pale patient pearly peppy petite plain plum plush polar proper proud pure
    quick quiet rare raspy ready rich ripe roaming rosy rough royal ruby rugged rusty sable salty satin savvy
    scarlet sepia serene sharp shiny short silent silky silver sleek sleepy slow small smart smooth snappy snowy
    sober soft solid sonic spare spiky spry square starry steady still stout striped sturdy subtle sunny sure
    swift tame tangy tart teal tender terse thin tidy tiny tough tranquil true twin upbeat vague valiant vast
    vivid warm wavy wee whole windy wise witty young zany
"""
_ANIMALS = """
    aardvark adder albatross anchovy ant anteater ape armadillo asp avocet axolotl baboon bandicoot barbel
    barnacle bat bear beaver beetle bison boa boar bobcat booby bream buffalo bulbul bull bunny bustard buzzard
    caiman canary capybara caracal cat catfish chicken chipmunk chough civet clam cobra cod colt condor
    cormorant cougar cow crab crane cricket cuckoo curlew cuttlefish deer dingo dog dolphin donkey dove
    dragonfly drake dugong dunlin dunnock earwig echidna eel eider eland elephant emu ermine fawn ferret finch
    flamingo flea flounder foal fox frog gadwall gannet gar gecko gerbil gibbon gnat gnu goat goldfish goose
    gorilla grebe grouse guppy haddock hake hamster hare harrier hedgehog heron herring hornet horse hound ibex
    ibis impala jackal jackdaw jay jellyfish kangaroo kite kitten kiwi koala koi krill ladybird lamb lamprey
    lark lemming leopard limpet linnet lizard llama lobster loon loris lynx macaw magpie mallard mantis marlin
    marmot mastiff meerkat merlin mink minnow mole mongoose monkey moth mouse mule mussel narwhal newt numbat
    nuthatch ocelot okapi opossum orca oryx osprey otter owl ox panda panther parrot peacock pelican penguin
    petrel pheasant pig pika pike pipit platypus plover pointer pony porcupine possum prawn puffin python quail
    quokka rabbit raccoon rail rat raven ray reindeer rhino roach rook ruff salmon sandpiper sardine scorpion
    seahorse seal shark sheep shrew shrimp siskin skate skua skunk sloth smelt snail snake sole sparrow sprat
    squid squirrel stoat stork sturgeon swallow swan swift tench tern terrier tiger tit toad toucan trout turbot
    turkey turtle vole vulture wallaby warbler wasp weasel whale whelk whippet wildcat wolf wombat wren yak
"""
ADJECTIVES, ANIMALS = tuple(_ADJECTIVES.split()), tuple(_ANIMALS.split())


def nickname(first: int, second: int) -> str:
    """``adjective-animal`` for two bytes."""
    return f"{ADJECTIVES[first]}-{ANIMALS[second]}"
