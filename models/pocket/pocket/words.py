"""The words of the conversations. Pools are divided between training and evaluation; tuples are shared."""

from pocket.draw import words

COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "pink", "purple", "orange", "grey", "silver")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November")
ROOMS = ("kitchen", "garage", "attic", "cellar", "hall", "office", "bedroom", "pantry", "shed", "balcony")
RELATIVES = (
    "sister", "brother", "mother", "father", "aunt", "uncle", "cousin", "friend", "boss", "nephew", "neighbour",
)  # fmt: skip

OBJECTS = words(
    "object",
    "cup lamp chair book key rope coat drum ladder bell kite spoon hammer clock basket mirror bottle blanket lantern "
    "wagon pillow ring sword flute map pencil box hat boat bicycle guitar candle umbrella backpack shovel ball violin "
    "brush bucket helmet scarf pan camera radio wallet jar tent saddle notebook shell stone coin whistle crown needle "
    "plate shirt glove wheel carpet fork desk sofa bench vase trumpet compass telescope button feather purse "
    "letter necklace pipe kettle broom anchor mask statue pot mug chain barrel sled raft bow quilt tray",
)
ANIMALS = words(
    "animal",
    "fox rabbit bear mouse owl cat dog horse goat duck frog hen wolf turtle squirrel crow deer pig hedgehog sparrow "
    "badger lamb otter goose beaver pony snail crane donkey lizard mole swan zebra camel lion monkey panda tiger rat "
    "bat seal robin raven spider beetle",
)
PETS = words("pet", "dog cat rabbit parrot hamster turtle horse goldfish pony snake goat duck lizard mouse hen ferret")
PLACES = words(
    "place",
    "forest river market bridge castle harbour mountain village school library farm park lake beach tower mill "
    "station cave museum meadow island bakery valley church orchard desert theatre square port hill temple garden",
)
JOBS = words(
    "job",
    "baker farmer teacher doctor painter sailor nurse driver singer tailor potter miner writer pilot cook dancer "
    "builder gardener hunter lawyer barber weaver clerk judge plumber actor banker carpenter dentist fisher guard "
    "smith",
)
FOODS = words(
    "food",
    "bread soup rice cheese apples honey cake noodles pears salad pancakes beans plums stew cherries pizza carrots "
    "porridge grapes pasta melon dumplings nuts tomatoes yoghurt peaches corn pie lemons figs waffles olives",
)
HOBBIES = words(
    "hobby",
    "swimming painting chess running cooking sailing reading dancing fishing climbing singing knitting cycling "
    "hiking skating gardening pottery football tennis rowing",
)
TOPICS = words(
    "topic",
    "politics money sports religion war cooking music films cars computers weather history medicine gardening travel "
    "fashion dogs football food space ghosts trains art school horses law gold maths taxes wine books dragons",
)
LAST_WORDS = words(
    "last word",
    "over meow sir indeed banana friend captain hooray amen cheers boss stop moon ahoy roger bingo okay pal "
    "thanks done wow master yes buddy",
)
